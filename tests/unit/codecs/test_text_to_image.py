"""Payloads of text-to-image archives: what is read from JSON and forms, and how pictures are written."""

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from server.codecs.http import multipart
from server.codecs.http.media_type import parse
from server.codecs.images import pictures
from server.codecs.registry import decode
from server.domain.errors import ClientError, InvalidRequest, NotAcceptable, UnsupportedMediaType
from server.domain.inference import InferenceResponse, Tensor
from server.domain.payload import Payload
from tests.unit.codecs.codec_archives import archive, ask, written

SCALARS = {
    "NEGATIVE_PROMPT": "BYTES",
    "STEPS": "INT32",
    "GUIDANCE": "FP32",
    "SEED": "INT64",
    "HEIGHT": "INT32",
    "WIDTH": "INT32",
    "NUM_IMAGES": "INT32",
    "SCHEDULER": "BYTES",
    "STRENGTH": "FP32",
    "PROGRESS_EVERY": "INT32",
    "PREVIEW_EVERY": "INT32",
}
PAINTER = archive(
    [
        ("PROMPT", "BYTES", (1,)),
        *((name, datatype, (1,), True) for name, datatype in SCALARS.items()),
        ("IMAGE", "UINT8", (-1, -1, 3), True),
        ("MASK", "UINT8", (-1, -1), True),
    ],
    [
        ("IMAGES", "UINT8", (-1, -1, -1, 3)),
        ("SEEDS", "INT64", (-1,)),
        ("PROGRESS", "INT32", (2,)),
        ("PREVIEW", "UINT8", (-1, -1, 3)),
    ],
    task="text-to-image",
)
PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
MASK = np.where(PIXELS[:, :, 0] > 30, 255, 0).astype(np.uint8)
BOUNDARY = "----edge"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def inputs(decoded):
    return {name: tensor.data.tolist() for name, tensor in decoded.request.inputs.items()}


def file(array, kind="PNG"):
    body = io.BytesIO()
    Image.fromarray(array).save(body, kind)
    return body.getvalue()


def form(*parts):
    """Parts: (name, value), or (name, file name, bytes)."""
    body = b""
    for name, *rest in parts:
        named = f'; filename="{rest[0]}"' if len(rest) == 2 else ""
        content = rest[-1] if isinstance(rest[-1], bytes) else rest[-1].encode()
        body += (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content + b"\r\n"
        )
    return body + f"--{BOUNDARY}--\r\n".encode()


def painted(count=1, seed=7):
    images = np.stack([PIXELS + index for index in range(count)])
    seeds = np.arange(seed, seed + count, dtype=np.int64)
    return Tensor("IMAGES", "UINT8", images), Tensor("SEEDS", "INT64", seeds)


def test_both_json_forms_say_the_same():
    words = {"num_inference_steps": 3, "guidance_scale": 5, "seed": 2**40, "scheduler": "euler", "negative_prompt": "ä"}
    nested = ask(PAINTER, {"inputs": "a cat", "parameters": words})
    flat = ask(PAINTER, {"prompt": "a cat", **words})
    assert inputs(nested) == inputs(flat)
    assert inputs(flat) == {
        "PROMPT": [b"a cat"],
        "STEPS": [3],
        "GUIDANCE": [5.0],
        "SEED": [2**40],
        "SCHEDULER": [b"euler"],
        "NEGATIVE_PROMPT": ["ä".encode()],
    }
    assert {tensor.datatype for tensor in flat.request.inputs.values()} == {"BYTES", "INT32", "FP32", "INT64"}


def test_a_list_of_one_prompt_and_nulls_are_taken():
    assert inputs(ask(PAINTER, {"inputs": ["a cat"], "parameters": {"seed": None}})) == {"PROMPT": [b"a cat"]}


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream", ""])
def test_json_is_known_under_any_name(content_type):
    assert inputs(ask(PAINTER, {"prompt": "x"}, content_type)) == {"PROMPT": [b"x"]}


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_pictures_come_as_base64_or_as_lists(prefix):
    encoded = {
        "image": prefix + base64.b64encode(file(PIXELS)).decode(),
        "mask": prefix + base64.b64encode(file(MASK)).decode(),
    }
    listed = {"image": PIXELS.tolist(), "mask_image": MASK.tolist()}
    one, other = (ask(PAINTER, {"prompt": "x", **more}) for more in (encoded, listed))
    assert inputs(one) == inputs(other)
    np.testing.assert_array_equal(one.request.inputs["IMAGE"].data, PIXELS)
    np.testing.assert_array_equal(one.request.inputs["MASK"].data, MASK)


def test_a_mask_of_booleans_becomes_black_and_white():
    read = ask(PAINTER, {"prompt": "x", "image": PIXELS.tolist(), "mask": (MASK > 0).tolist()})
    np.testing.assert_array_equal(read.request.inputs["MASK"].data, MASK)


def test_a_form_brings_pictures_as_files_and_numbers_as_text():
    body = form(
        ("prompt", "a cät"),
        ("seed", "5"),
        ("guidance_scale", "2.5"),
        ("width", ""),
        ("image", "in.png", file(PIXELS)),
        ("mask", "mask.bmp", file(MASK, "BMP")),
        ("mask_image", "", b""),
    )
    decoded = ask(PAINTER, body, FORM)
    assert inputs(decoded) == {
        "PROMPT": ["a cät".encode()],
        "SEED": [5],
        "GUIDANCE": [2.5],
        "IMAGE": PIXELS.tolist(),
        "MASK": MASK.tolist(),
    }


def test_kserve_requests_still_work_and_may_ask_for_png():
    document = {"inputs": [{"name": "PROMPT", "datatype": "BYTES", "shape": [1], "data": ["a cat"]}]}
    decoded = ask(PAINTER, document, accept="image/png")
    assert inputs(decoded) == {"PROMPT": [b"a cat"]}
    answer, body = written(decoded, *painted())
    assert answer.content_type == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), PIXELS)
    answer, body = written(ask(PAINTER, document), *painted())
    assert [output["name"] for output in json.loads(body)["outputs"]] == ["IMAGES", "SEEDS"]


def test_the_natural_answer_is_json_with_pngs_and_what_was_asked():
    decoded = ask(PAINTER, {"prompt": "x", "num_images": 2, "scheduler": "ddim"})
    answer, body = written(decoded, *painted(2))
    told = json.loads(body)
    assert answer.content_type == "application/json"
    assert told["parameters"] == {"num_images": 2, "scheduler": "ddim", "seed": 7, "seeds": [7, 8]}
    images = [np.asarray(Image.open(io.BytesIO(base64.b64decode(image)))) for image in told["images"]]
    np.testing.assert_array_equal(np.stack(images), painted(2)[0].data)


def test_png_tells_its_seed_in_a_header():
    answer, body = written(ask(PAINTER, {"prompt": "x"}, accept="image/*"), *painted(seed=-3))
    assert (answer.content_type, dict(answer.headers)) == ("image/png", {"x-roundhouse-seed": "-3"})
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(body))), PIXELS)


def test_npy_holds_all_images():
    _, body = written(ask(PAINTER, {"prompt": "x"}, accept="application/x-npy"), *painted(2))
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), painted(2)[0].data)


def test_several_images_do_not_fit_a_png_and_that_is_told_before_painting():
    with pytest.raises(NotAcceptable, match="holds one image, and there are 3: accept application/json"):
        ask(PAINTER, {"prompt": "x", "num_images": 3}, accept="image/png")
    with pytest.raises(NotAcceptable, match="there are 2"):
        written(ask(PAINTER, {"prompt": "x"}, accept="image/png"), *painted(2))


@pytest.mark.parametrize("accept", ["", "image/png", "application/x-npy", "application/json"])
def test_a_stream_tells_each_step_as_a_line_and_then_the_picture(accept):
    payload = Payload(b'{"prompt": "x", "preview_every": 2}', "application/json", accept, is_stream=True)
    decoded = decode(payload, PAINTER)
    assert inputs(decoded)["PROGRESS_EVERY"] == [1]
    step = Tensor("PROGRESS", "INT32", np.array([2, 20], np.int32))
    answer, body = written(decoded, step)
    assert (answer.content_type, body) == ("application/json", b'{"progress":{"step":2,"total":20}}\n')
    _, body = written(decoded, step, Tensor("PREVIEW", "UINT8", PIXELS))
    preview = Image.open(io.BytesIO(base64.b64decode(json.loads(body)["preview"])))
    np.testing.assert_array_equal(np.asarray(preview), PIXELS)
    answer, _ = written(decoded, *painted())
    assert answer.content_type == (accept or "application/json")


def test_who_reads_no_stream_gets_no_progress():
    assert inputs(ask(PAINTER, {"prompt": "x", "progress_every": 3})) == {"PROMPT": [b"x"]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "a prompt is missing"),
        ({"inputs": 5}, "a prompt is missing"),
        ({"inputs": ["a", "b"]}, "one prompt a request, got 2"),
        ({"inputs": "a", "prompt": "b"}, "not as both"),
        ({"prompt": "a", "parameters": []}, "'parameters' must be a JSON object"),
        ({"prompt": "a", "stepps": 3}, "parameter 'stepps' is not known; known are: prompt"),
        ({"prompt": "a", "steps": 3, "num_inference_steps": 3}, "says again"),
        ({"prompt": "a", "steps": True}, "'steps' must be a whole number"),
        ({"prompt": "a", "steps": 3.5}, "'steps' must be a whole number"),
        ({"prompt": "a", "steps": 2**40}, "'steps' does not fit INT32: it is too large"),
        ({"prompt": "a", "guidance_scale": "7"}, "'guidance_scale' must be a number"),
        ({"prompt": "a", "scheduler": 1}, "'scheduler' must be a string"),
        ({"prompt": "a", "image": "@@"}, "'image' is not base64"),
        ({"prompt": "a", "image": ""}, "'image'.*empty"),
        ({"prompt": "a", "image": base64.b64encode(b"GIF89a...").decode()}, "'image': the body cannot be read"),
        ({"prompt": "a", "image": base64.b64encode(file(PIXELS)[:50]).decode()}, "'image' cannot be decoded"),
        ({"prompt": "a", "image": [[1, 2], [3]]}, "nested lists of one shape"),
        ({"prompt": "a", "image": [[1, 2], [3, 4]]}, r"'image' must have the shape \[height, width, 3\], got \[2, 2\]"),
        ({"prompt": "a", "image": [[[1, 2, 300]]]}, "whole numbers from 0 to 255"),
        ({"prompt": "a", "image": [[[1, 2, 0.5]]]}, "whole numbers from 0 to 255"),
        ({"prompt": "a", "mask": {"a": 1}}, "'mask' must be base64"),
        ({"prompt": "a", "image": []}, "must have the shape"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_reason(document, message):
    with pytest.raises(InvalidRequest, match=message):
        ask(PAINTER, document)


@pytest.mark.parametrize("value", [1e300, -1e300, 10**400])
def test_numbers_beyond_fp32_become_infinite_for_the_model_to_refuse(value):
    decoded = (
        decode(Payload(json.dumps({"prompt": "a", "guidance_scale": value}).encode()), PAINTER)
        if abs(value) < 10**301
        else None
    )
    if decoded is None:
        with pytest.raises(ClientError):
            decode(Payload(b'{"prompt": "a", "guidance_scale": 1' + b"0" * 400 + b"}"), PAINTER)
    else:
        assert np.isinf(decoded.request.inputs["GUIDANCE"].data).all()


def test_an_archive_that_takes_no_pictures_says_so():
    plain = archive([("PROMPT", "BYTES", (1,))], [("IMAGES", "UINT8", (-1, -1, -1, 3))], task="text-to-image")
    with pytest.raises(InvalidRequest, match="does not take IMAGE"):
        ask(plain, {"prompt": "a", "image": PIXELS.tolist()})
    streamed = decode(Payload(b'{"prompt": "x"}', is_stream=True), plain)
    assert inputs(streamed) == {"PROMPT": [b"x"]}


def test_a_type_that_is_not_read_lists_those_that_are():
    with pytest.raises(UnsupportedMediaType, match="multipart/form-data"):
        ask(PAINTER, b"a cat", "text/plain")


@pytest.mark.parametrize("mode", ["CMYK", "L", "LA", "P", "RGBA", "1", "I;16"])
@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_pictures_of_any_mode_are_read(mode, kind):
    if (mode, kind) == ("CMYK", "PNG"):
        kind = "JPEG"
    grey = Image.fromarray(MASK)
    image = Image.fromarray(MASK.astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    body = io.BytesIO()
    image.save(body, kind)
    read = pictures.from_file(body.getvalue(), "RGB", "image")
    assert read.shape == (4, 6, 3)
    assert np.abs(read.astype(int) - MASK[:, :, None]).mean() < 40


def test_a_rotated_photo_is_set_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    body = io.BytesIO()
    Image.fromarray(PIXELS).save(body, "JPEG", exif=exif)
    assert pictures.from_file(body.getvalue(), "RGB", "image").shape == (6, 4, 3)


def test_a_picture_of_twenty_thousand_pixels_a_side_is_not_decoded():
    header = b"P6\n20000 20000\n255\n"
    with pytest.raises(InvalidRequest, match="20000x20000 pixels; the limit is"):
        pictures.from_file(header, "RGB", "image")


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (form(("prompt", "x")), "multipart/form-data", "needs a boundary"),
        (form(("prompt", "x")), "multipart/form-data; boundary=ü", "needs a boundary"),
        (form(("prompt", "x"))[:-6], FORM, "cut off"),
        (b"", FORM, "cut off"),
        (b"nothing of the kind", FORM, "is not multipart/form-data"),
        (form(("prompt", "x"), ("prompt", "y")), FORM, "two parts of the name 'prompt'"),
        (form(*((f"p{n}", "x") for n in range(65))), FORM, "more than 64 parts"),
        (form(("prompt", b"\xff")), FORM, "is not UTF-8"),
        (form(("prompt", "x" * (2**20 + 1))), FORM, "longer than 1048576"),
        (form(("seed", "1")), FORM, "a prompt is missing"),
        (form(("prompt", "x"), ("seed", "soon")), FORM, "'seed' must be a whole number, got 'soon'"),
        (form(("prompt", "x"), ("photo", "a.png", b"x")), FORM, "file 'photo' is not known"),
        (form(("prompt", "x"), ("image", "a.png", b"x")), FORM, "'image': the body cannot be read"),
        (f"--{BOUNDARY}\r\nX-A: b\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(), FORM, "has no name"),
    ],
)
def test_a_form_that_is_wrong_is_told_why(body, content_type, message):
    with pytest.raises(InvalidRequest, match=message):
        ask(PAINTER, body, content_type)


NAMES = st.text(st.characters(codec="ascii", categories=["L", "Nd"]), min_size=1, max_size=8)


@given(
    st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=20), max_size=4),
    st.dictionaries(NAMES, st.binary(max_size=200), max_size=3),
)
def test_every_form_comes_through(texts, files):
    files = {f"file-{name}": content for name, content in files.items()}
    body = form(*texts.items(), *((name, "f.bin", content) for name, content in files.items()))
    read = multipart.read_form(body, parse(FORM))
    assert (dict(read.texts), dict(read.files)) == (texts, files)


WORDS = st.sampled_from(["prompt", "inputs", "parameters", "seed", "steps", "image", "mask", "guidance_scale", "other"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(WORDS, VALUES, max_size=5), st.booleans())
def test_random_documents_are_read_or_refused(document, is_stream):
    raw = json.dumps(document).encode("utf-8", "surrogatepass")
    try:
        decoded = decode(Payload(raw, "application/json", is_stream=is_stream), PAINTER)
    except ClientError:
        return
    assert decoded.request.inputs["PROMPT"].data.dtype == np.object_


@given(st.binary(max_size=300), st.integers(0, 400))
def test_random_forms_are_read_or_refused(noise, cut):
    good = form(("prompt", "x"), ("image", "a.png", noise))
    for body in (noise, good[:cut], good):
        try:
            decoded = decode(Payload(body, FORM), PAINTER)
        except ClientError:
            continue
        assert "PROMPT" in decoded.request.inputs


@pytest.mark.parametrize("outputs", [(), (Tensor("SEEDS", "INT64", np.array([1])),)])
def test_an_answer_without_images_is_the_models_failure(outputs):
    from server.domain.errors import InferenceFailed

    with pytest.raises(InferenceFailed, match="has no output"):
        ask(PAINTER, {"prompt": "x"}).encode(InferenceResponse(outputs), "m")

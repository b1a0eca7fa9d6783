"""What a client of the advertising walk-through sends and reads, and what it is told when it is wrong."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from server.domain.errors import InvalidRequest, NotAcceptable
from server.domain.inference import InferenceResponse, Tensor
from tests.unit.codecs.codec_archives import archive, ask

AD = archive(
    [
        ("IMAGE", "UINT8", (-1, -1, 3)),
        ("PROMPT_FR", "BYTES", (1,)),
        ("PROMPT_BG", "BYTES", (1,)),
        ("MASK", "UINT8", (-1, -1), True),
        ("NEGATIVE_PROMPT", "BYTES", (1,), True),
        ("SEED", "INT64", (1,), True),
        ("STEPS", "INT32", (1,), True),
    ],
    [
        ("GENERATED", "UINT8", (-1, -1, 3)),
        ("BACKGROUND", "UINT8", (-1, -1, 3)),
        ("PRODUCT_MASK", "UINT8", (-1, -1)),
        ("POSTPROCESSED", "UINT8", (-1, -1, 3)),
    ],
    task="creative-advertising",
)
PICTURE = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
MASK = np.array([[0, 255, 255, 0, 0]] * 4, np.uint8)
PROMPTS = {"prompt_fr": "a red shoe", "prompt_bg": "a beach at dawn", "negative_prompt": "blurred"}


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def response():
    levels = {name: np.full((4, 5, 3), level, np.uint8) for level, name in enumerate(("GENERATED", "BACKGROUND"))}
    outputs = {**levels, "PRODUCT_MASK": MASK, "POSTPROCESSED": PICTURE}
    return InferenceResponse(tuple(Tensor(name, "UINT8", array) for name, array in outputs.items()))


@pytest.mark.parametrize(
    "picture", [PICTURE.tolist(), base64.b64encode(png(PICTURE)).decode()], ids=["nested lists", "base64"]
)
def test_the_walk_throughs_request(picture):
    asked = ask(AD, {"image": picture, "mask": MASK.tolist(), "seed": 7, **PROMPTS}).request.inputs
    assert (asked["IMAGE"].data == PICTURE).all()
    assert (asked["MASK"].data == MASK).all()
    assert asked["PROMPT_FR"].data.tolist() == [b"a red shoe"]
    assert asked["NEGATIVE_PROMPT"].data.tolist() == [b"blurred"]
    assert asked["SEED"].data.tolist() == [7]


def test_a_form():
    parts = [*PROMPTS.items(), ("num_inference_steps", "4")]
    body = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value.encode())
        for name, value in parts
    )
    body += (
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
        + png(PICTURE)
        + b"\r\n--x--\r\n"
    )
    asked = ask(AD, body, "multipart/form-data; boundary=x").request.inputs
    assert (asked["IMAGE"].data == PICTURE).all()
    assert asked["STEPS"].data.tolist() == [4]
    assert "MASK" not in asked


def test_the_answer_is_the_list_that_the_walk_throughs_client_reads():
    decoded = ask(AD, {"image": PICTURE.tolist(), **PROMPTS})
    generated, background, mask, post_processed = json.loads(b"".join(decoded.encode(response(), "ad").body))
    assert (np.array(generated) == 0).all()
    assert (np.array(background) == 1).all()
    assert mask == MASK.tolist()
    assert post_processed == PICTURE.tolist()


def test_a_png_is_the_post_processed_picture():
    answer = ask(AD, {"image": PICTURE.tolist(), **PROMPTS}, accept="image/png").encode(response(), "ad")
    with Image.open(io.BytesIO(b"".join(answer.body))) as read:
        assert (np.asarray(read) == PICTURE).all()


def test_an_npy_file_has_all_four():
    answer = ask(AD, {"image": PICTURE.tolist(), **PROMPTS}, accept="application/x-npy").encode(response(), "ad")
    stacked = np.load(io.BytesIO(b"".join(answer.body)))
    assert stacked.shape == (4, 4, 5, 3)
    assert (stacked[2] == MASK[:, :, None]).all()


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"image": [[[0, 0, 0]]], "prompt_fr": "a"}, "'prompt_bg' is missing"),
        ({"prompt_fr": "a", "prompt_bg": "b"}, "'image' is missing"),
        ({"image": [[0, 0], [0]], **PROMPTS}, "one shape"),
        ({"image": [[[300, 0, 0]]], **PROMPTS}, "0 to 255"),
        ({"image": [[[0, 0, 0]]], "prompts": "a", **PROMPTS}, "'prompts' is not known"),
        ({"image": "no base64!", **PROMPTS}, "base64"),
        ({"image": [[[0, 0, 0]]], "seed": "seven", **PROMPTS}, "whole number"),
    ],
)
def test_what_is_wrong_is_said(document, told):
    with pytest.raises(InvalidRequest, match=told):
        ask(AD, document)


def test_an_answer_that_cannot_be_written():
    with pytest.raises(NotAcceptable, match="image/png"):
        ask(AD, {"image": PICTURE.tolist(), **PROMPTS}, accept="text/html")


def test_a_large_picture_is_read_as_a_small_one_is():
    large = np.random.default_rng(1).integers(0, 256, (120, 90, 3), np.uint8)
    asked = ask(AD, {"image": large.tolist(), "mask": (large[:, :, 0] // 128 * 255).tolist(), **PROMPTS}).request.inputs
    assert (asked["IMAGE"].data == large).all()
    assert (asked["MASK"].data == large[:, :, 0] // 128 * 255).all()

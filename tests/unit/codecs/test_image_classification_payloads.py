"""Pictures in every form that clients send them, and labels as they are read."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from server.domain.errors import InferenceFailed, InvalidRequest, NotAcceptable, UnsupportedMediaType
from server.domain.inference import Tensor
from tests.unit.codecs.codec_archives import archive, ask, tensor, written

LABELS = ("background", "cat", "espresso", "rocket")
NPY = "application/x-npy"


def target(batch=2, labels=LABELS, dims=(-1,)):
    return archive([("INPUT", "UINT8", dims)], [("OUTPUT", "FP32", (4,), False, labels)], batch, "image-classification")


def picture(form="PNG", size=(5, 3), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue(), pixels


def npy_file(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def sent(decoded):
    return decoded.request.inputs["INPUT"].data


SCORES = tensor("OUTPUT", "FP32", [[0.0, 0.2, 0.7, 0.1]])
RANKED = [
    {"label": "espresso", "score": 0.7},
    {"label": "cat", "score": 0.2},
    {"label": "rocket", "score": 0.1},
    {"label": "background", "score": 0.0},
]


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("PNG", "image/png"),
        ("JPEG", "image/jpeg"),
        ("JPEG", "image/jpg"),
        ("WEBP", "image/webp"),
        ("BMP", "image/bmp"),
        ("TIFF", "image/tiff"),
        ("PPM", "image/x-portable-anymap"),
        ("PNG", "image/*"),
        ("JPEG", "IMAGE/PNG; charset=binary"),
        ("JPEG", "application/octet-stream"),
    ],
)
def test_an_image_file_is_the_input(form, kind):
    file, _ = picture(form)
    decoded = ask(target(), file, kind)
    assert sent(decoded).tobytes() == file
    assert sent(decoded).shape == (1, len(file))
    answer, body = written(decoded, SCORES)
    assert answer.content_type == "application/json"
    assert json.loads(body) == [{**each, "score": pytest.approx(each["score"])} for each in RANKED]


def test_an_archive_without_a_batch_axis():
    file, _ = picture()
    assert sent(ask(target(batch=0), file, "image/png")).shape == (len(file),)


@pytest.mark.parametrize("shape", [(3, 5, 3), (1, 3, 5, 3)])
def test_an_array_is_an_image_file_too(shape):
    _, pixels = picture()
    file = sent(ask(target(), npy_file(pixels.reshape(shape)), NPY))[0].tobytes()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(file))), pixels)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_base64_in_json(prefix):
    file, _ = picture()
    document = {"inputs": prefix + base64.b64encode(file).decode(), "parameters": {"top_k": 2, "tone": "warm"}}
    decoded = ask(target(), document)
    assert sent(decoded).tobytes() == file
    assert dict(decoded.request.parameters) == {"tone": "warm"}
    assert [each["label"] for each in json.loads(written(decoded, SCORES)[1])] == ["espresso", "cat"]


def test_a_list_of_base64_is_answered_with_a_list_of_lists():
    (first, _), (second, _) = picture(), picture("JPEG", (40, 30))
    texts = [base64.b64encode(file).decode() for file in (first, second)]
    decoded = ask(target(), {"inputs": texts})
    rows = sent(decoded)
    assert rows.shape == (2, max(len(first), len(second)))
    assert rows[0].tobytes().rstrip(b"\0") == first.rstrip(b"\0")
    two = tensor("OUTPUT", "FP32", [[0.0, 0.9, 0.1, 0.0], [0.0, 0.1, 0.2, 0.7]])
    assert [each[0]["label"] for each in json.loads(written(decoded, two)[1])] == ["cat", "rocket"]


def test_all_probabilities_as_an_array():
    decoded = ask(target(), picture()[0], "image/png", NPY)
    answer, body = written(decoded, SCORES)
    assert answer.content_type == NPY
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), SCORES.data)


def test_classes_without_a_label_are_numbers():
    decoded = ask(target(labels=LABELS[:2]), picture()[0], "image/png")
    assert [each["label"] for each in json.loads(written(decoded, SCORES)[1])] == ["2", "cat", "3", "background"]


def test_the_walk_through_of_aws():
    """KServe JSON with the picture's bytes as a nested list, sent as SageMaker's default type."""
    file = np.frombuffer(picture("JPEG", (400, 300))[0], np.uint8)
    entry = {"name": "INPUT", "shape": [1, len(file)], "datatype": "UINT8", "data": [file.tolist()]}
    for kind in ("application/octet-stream", "application/json", ""):
        decoded = ask(target(), {"inputs": [entry]}, kind)
        np.testing.assert_array_equal(sent(decoded)[0], file)
        body = json.loads(written(decoded, SCORES)[1])
        assert body["outputs"][0]["shape"] == [1, 4]


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"", "image/jpeg", "empty image file"),
        (b"{}", "image/jpeg", "not an image file"),
        (b"GIF89a" + bytes(20), "image/png", "JPEG, PNG, WebP"),
        (b"junk", NPY, "not an .npy file"),
        (npy_file(np.zeros((3, 5, 3), np.float32)), NPY, "uint8"),
        (npy_file(np.zeros((0, 5, 3), np.uint8)), NPY, "0 pixels|5x0 pixels"),
        ({"inputs": "not base64!"}, "application/json", "base64"),
        ({"inputs": ["aGVsbG8="]}, "application/json", "not an image file"),
        ({"inputs": ["aGVsbG8="] * 3}, "application/json", "1 to 2 pictures.*got 3"),
        ({"inputs": base64.b64encode(picture()[0]).decode(), "parameters": {"top_k": 0}}, "", "top_k"),
        ({"inputs": base64.b64encode(picture()[0]).decode(), "parameters": {"top_k": True}}, "", "top_k"),
        ({"inputs": []}, "application/json", "misses input"),
    ],
)
def test_what_cannot_be_read_is_refused(body, kind, words):
    with pytest.raises(InvalidRequest, match=words):
        ask(target(), body, kind)


def test_a_type_that_is_not_read_is_told_with_those_that_are():
    with pytest.raises(UnsupportedMediaType, match=r"image/jpeg.*application/octet-stream"):
        ask(target(), b"GIF89a", "image/gif")


def test_an_answer_that_cannot_be_written():
    with pytest.raises(NotAcceptable):
        ask(target(), picture()[0], "image/png", "image/png")


def test_an_archive_of_this_task_with_other_inputs_takes_kserve_only():
    other = archive([("X", "FP32", (3,))], [("OUTPUT", "FP32", (4,))], 2, "image-classification")
    for body, kind in ((picture()[0], "image/png"), (picture()[0], "application/octet-stream")):
        with pytest.raises(UnsupportedMediaType):
            ask(other, body, kind)
    with pytest.raises(InvalidRequest):
        ask(other, {"inputs": "aGVsbG8="})


def test_a_model_that_answers_something_else_is_told():
    decoded = ask(target(), picture()[0], "image/png")
    with pytest.raises(InferenceFailed, match="no probabilities"):
        written(decoded, Tensor("OUTPUT", "INT64", np.zeros((1, 4), np.int64)))

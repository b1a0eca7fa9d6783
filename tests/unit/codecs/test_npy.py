"""`application/x-npy` in and out, checked against numpy's own reader and writer."""

import io

import numpy as np
import pytest

from server.codecs import npy
from server.domain.errors import InvalidRequest, NotAcceptable, UnsupportedMediaType
from tests.unit.codecs.codec_archives import EMBEDDING, archive, ask, document, echo, tensor, written

NPY = "application/x-npy"


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        np.arange(3, dtype=">f8"),
        np.array([True, False]),
        np.array(3.5),
        np.zeros((0, 2), np.uint8),
        np.array([1.5], np.float16),
    ],
)
def test_what_numpy_saves_is_read(array):
    got = npy.read(saved(array))
    assert got.flags.c_contiguous
    assert got.flags.aligned
    assert got.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, array, strict=False)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version(version):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.arange(3), version=version)
    assert npy.read(file.getvalue()).tolist() == [0, 1, 2]


GOOD = saved(np.arange(3))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        GOOD[:7],
        GOOD[:50],
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:6] + b"\x09" + GOOD[7:],
        GOOD.replace(b"(3,)", b"(4,)"),
        GOOD.replace(b"(3,)", b"(-3)"),
        GOOD.replace(b"(3,)", b"(" + b"9" * 30 + b",)"),
        GOOD.replace(b"<i8", b"|O8"),
        GOOD.replace(b"<i8", b"<f1"),
        GOOD.replace(b"False", b"print"),
        saved(np.array(["a"], object), allow_pickle=True),
        saved(np.zeros(1, [("a", "<f4")])),
        saved(np.array(["a"])),
    ],
)
def test_anything_else_is_refused(body):
    with pytest.raises(InvalidRequest, match=r"\.npy"):
        npy.read(body)


def test_a_request():
    assert ask(echo("FP32", (2,), 4), saved(np.ones((3, 2), np.float32)), NPY).request.inputs["X"].shape == (3, 2)


@pytest.mark.parametrize(
    ("array", "message"), [(np.ones((1, 2)), "expects FP32"), (np.ones((1, 3), np.float32), "shape")]
)
def test_arrays_that_do_not_fit_the_input(array, message):
    with pytest.raises(InvalidRequest, match=message):
        ask(echo("FP32", (2,), 4), saved(array), NPY)


@pytest.mark.parametrize(
    "target", [EMBEDDING, archive([("A", "FP32", (1,)), ("B", "FP32", (1,))], [("Y", "FP32", (1,))])]
)
def test_archives_that_take_no_single_array(target):
    with pytest.raises(UnsupportedMediaType, match="one numeric input"):
        ask(target, GOOD, NPY)


@pytest.mark.parametrize("shape", [(2, 3), (6,), (), (0, 3), (1, 1, 6)])
def test_answers_are_what_numpy_loads(shape):
    array = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    decoded = ask(echo("FP32"), document([1, 2]), accept=NPY)
    answer, body = written(decoded, tensor("Y", "FP32", array))
    assert answer.content_type == NPY
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), array, strict=True)


def test_npy_is_the_natural_answer_to_npy():
    answer, _ = written(ask(echo("FP32"), saved(np.ones(2, np.float32)), NPY), tensor("Y", "FP32", [1]))
    assert answer.content_type == NPY


@pytest.mark.parametrize("outputs", [[("Y", "FP32", (1,)), ("Z", "FP32", (1,))], [("Y", "BYTES", (1,))]])
def test_where_npy_cannot_hold_the_answer(outputs):
    target = archive([("X", "FP32", (-1,))], outputs)
    with pytest.raises(NotAcceptable, match="x-npy holds"):
        ask(target, document([1, 2]), accept=NPY)
    assert written(ask(target, saved(np.ones(2, np.float32)), NPY))[0].content_type == "application/json"
    assert written(ask(target, document([1, 2]), accept=f"{NPY}, */*;q=0.1"))[0].content_type == "application/json"


def test_one_listed_output_of_several():
    target = archive([("X", "FP32", (-1,))], [("Y", "FP32", (1,)), ("Z", "FP32", (1,))])
    decoded = ask(target, document([1, 2], outputs=[{"name": "Z"}]), accept=NPY)
    _, body = written(decoded, tensor("Y", "FP32", [1]), tensor("Z", "FP32", [2]))
    assert np.load(io.BytesIO(body)).tolist() == [2]


def test_a_model_that_answers_otherwise_than_it_declared():
    with pytest.raises(NotAcceptable, match="not one numeric tensor"):
        written(ask(echo("FP32"), document([1, 2]), accept=NPY), tensor("Y", "BYTES", [b"x"]))


def test_classification_has_no_npy():
    doc = document([1, 2], outputs=[{"name": "Y", "parameters": {"classification": 1}}])
    with pytest.raises(NotAcceptable, match="classification"):
        ask(echo("FP32"), doc, accept=NPY)

"""Plain payloads: `text/plain` and `{"inputs": ...}`."""

import json

import numpy as np
import pytest

from server.domain.errors import InvalidRequest, UnsupportedMediaType
from server.domain.inference import Tensor
from tests.unit.codecs.codec_archives import EMBEDDING, SAGEMAKER, archive, ask, document, echo, tensor, written

PLAIN = archive([("T", "BYTES", (1,))], [("Y", "FP32", (2,)), ("L", "BYTES", (1,))], 4)


def texts(decoded, name="INPUT0"):
    return decoded.request.inputs[name].data.tolist()


def test_one_text():
    assert texts(ask(EMBEDDING, "héllo".encode(), "text/plain")) == [["héllo".encode()]]


def test_the_empty_text():
    assert texts(ask(EMBEDDING, b"", "text/plain")) == [[b""]]


@pytest.mark.parametrize("charset", ["latin1", "ISO-8859-1", '"windows-1252"', "utf-16le"])
def test_charsets_become_utf8(charset):
    encoding = charset.strip('"')
    decoded = ask(EMBEDDING, "é".encode(encoding), f"Text/Plain; Charset={charset}")
    assert texts(decoded) == [["é".encode()]]


@pytest.mark.parametrize("charset", ["hex", "zlib", "idna", "klingon", ""])
def test_charsets_that_are_not_read(charset):
    with pytest.raises(UnsupportedMediaType, match="charset"):
        ask(EMBEDDING, b"x", f"text/plain; charset={charset}")


@pytest.mark.parametrize(("body", "position"), [(b"abc\xff", 3), (b"\xc3", 0), (b"a\xed\xa0\x80", 1)])
def test_broken_utf8_names_the_byte(body, position):
    with pytest.raises(InvalidRequest, match=f"not utf-8: .* at byte {position}$"):
        ask(EMBEDDING, body, "text/plain")


def test_json_in_other_words_is_just_text():
    assert texts(ask(EMBEDDING, b'{"inputs":"x"}', "text/plain")) == [[b'{"inputs":"x"}']]


def test_kserve_requests_are_recognised_as_browsers_send_them():
    doc = document(["x"], (1, 1), "BYTES", "INPUT0")
    assert texts(ask(EMBEDDING, doc, "text/plain;charset=UTF-8")) == [[b"x"]]


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/octet-stream", "application/x-www-form-urlencoded"]
)
def test_json_inputs(content_type):
    assert texts(ask(EMBEDDING, {"inputs": "a"}, content_type)) == [[b"a"]]
    assert texts(ask(EMBEDDING, {"inputs": ["a", "é"]}, content_type)) == [[b"a"], ["é".encode()]]


def test_json_parameters_reach_the_model():
    decoded = ask(EMBEDDING, {"inputs": "a", "parameters": {"normalize": True}, "options": {"wait": 1}})
    assert dict(decoded.request.parameters) == {"normalize": True}


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "'inputs' is empty"),
        (["a", 1], "entry 1 is a number"),
        ([None], "entry 0 is null"),
        (["a", ["b"]], "entry 1 is a list"),
        ([True], "entry 0 is true or false"),
        (["a"] * 9, "9 texts, but archive 'm.tar.gz' takes at most 8"),
    ],
)
def test_wrong_inputs(inputs, message):
    with pytest.raises(InvalidRequest, match=message):
        ask(EMBEDDING, {"inputs": inputs})


@pytest.mark.parametrize("body", [b'{"inputs":"\\ud800","x":NaN}', b'{"inputs":"a","parameters":{"triton_x":1}}'])
def test_other_refusals(body):
    with pytest.raises(InvalidRequest):
        ask(EMBEDDING, body)


@pytest.mark.parametrize(
    ("dims", "batch", "count", "shape"),
    [((1,), 4, 2, (2, 1)), ((-1,), 4, 2, (2, 1)), ((-1,), 0, 2, (2,)), ((-1, 1), 0, 2, (2, 1)), ((1,), 0, 1, (1,))],
)
def test_texts_lie_along_the_batch_or_the_first_dynamic_axis(dims, batch, count, shape):
    assert ask(echo("BYTES", dims, batch), {"inputs": ["a"] * count}).request.inputs["X"].shape == shape


def test_an_archive_for_one_text_takes_one():
    with pytest.raises(InvalidRequest, match="takes at most 1"):
        ask(echo("BYTES", (1,)), {"inputs": ["a", "b"]})


@pytest.mark.parametrize(
    "target", [echo("FP32"), echo("BYTES", (2,)), archive([("A", "BYTES", (1,)), ("B", "BYTES", (1,))], [])]
)
def test_archives_that_take_no_single_text(target):
    with pytest.raises(UnsupportedMediaType, match="'text/plain' is not read for archive"):
        ask(target, b"hello", "text/plain")
    with pytest.raises(InvalidRequest, match="'inputs'"):
        ask(target, {"inputs": ["hello"]})


def test_optional_inputs_do_not_count():
    target = archive([("T", "BYTES", (1,)), ("P", "FP32", (1,), True)], [("Y", "FP32", (1,))], 4)
    assert ask(target, b"x", "text/plain").request.inputs.keys() == {"T"}


@pytest.mark.parametrize(
    ("body", "content_type"), [(b"x", "text/plain"), (b'{"inputs":"x"}', ""), (b'{"inputs":["x"]}', "")]
)
def test_embeddings_are_a_list_of_vectors(body, content_type):
    decoded = ask(EMBEDDING, body, content_type)
    answer, text = written(decoded, tensor("OUTPUT0", "FP32", [[0.5, 1, np.nan]]))
    assert (answer.content_type, json.loads(text)) == ("application/json", [[0.5, 1.0, None]])


def test_other_archives_name_their_outputs():
    decoded = ask(PLAIN, {"inputs": ["a", "b"]})
    labels = tensor("L", "BYTES", ["é".encode(), b"no"], (2, 1))
    _, text = written(decoded, tensor("Y", "FP32", [[1, 2], [3, 4]]), labels)
    assert json.loads(text) == {"outputs": {"Y": [[1, 2], [3, 4]], "L": [["é"], ["no"]]}}


def test_half_floats_are_numbers_here():
    bits = np.array([[1.5]], np.float32).view(np.uint32) >> 16
    decoded = ask(PLAIN, {"inputs": "a"})
    halves = tensor("Y", "FP16", [[0.5]]), Tensor("B", "BF16", bits.astype(np.uint16))
    assert json.loads(written(decoded, *halves)[1]) == {"outputs": {"Y": [[0.5]], "B": [[1.5]]}}


def test_accept_json_is_the_natural_form():
    decoded = ask(EMBEDDING, {"inputs": "a"}, accept="application/json")
    assert json.loads(written(decoded, tensor("OUTPUT0", "FP32", [[1, 2, 3]]))[1]) == [[1, 2, 3]]


def test_accept_binary_gives_kserve():
    decoded = ask(EMBEDDING, {"inputs": "a"}, accept=SAGEMAKER)
    answer, _ = written(decoded, tensor("OUTPUT0", "FP32", [[1, 2, 3]]))
    assert answer.content_type.startswith(f"{SAGEMAKER};json-header-size=")

"""Content-Type and Accept: parsing, choosing, and the codec that follows."""

import pytest

from server.codecs.http import media_type, negotiation
from server.codecs.http.negotiation import Form
from server.domain.errors import InvalidRequest, NotAcceptable, UnsupportedMediaType
from tests.unit.codecs.codec_archives import SAGEMAKER, archive, ask, document, echo, tensor, written

JSON = b'{"inputs":[{"name":"X","shape":[1],"datatype":"FP32","data":[1]}]}'


@pytest.mark.parametrize(
    ("header", "essence", "parameters"),
    [
        ("", "", {}),
        ("Text/PLAIN", "text/plain", {}),
        (" a/b ; C = d ;e=f", "a/b", {"c": "d", "e": "f"}),
        ('a/b; c="d;\\"e=f"; g=h', "a/b", {"c": 'd;"e=f', "g": "h"}),
        ("a/b;;=;c=;d", "a/b", {"c": ""}),
        ("a/b; c=d=e", "a/b", {"c": "d=e"}),
    ],
)
def test_parse(header, essence, parameters):
    got = media_type.parse(header)
    assert (got.essence, dict(got.parameters)) == (essence, parameters)


@pytest.mark.parametrize(
    ("header", "essences"),
    [
        ("a/b", ("a/b",)),
        ("a/b;q=0.1, c/d", ("c/d", "a/b")),
        ("a/b, c/d;q=0, e/f", ("a/b", "e/f")),
        ("a/b;q=x, c/d;q=nan, e/f;q=-1", ("a/b",)),
        (",", ()),
    ],
)
def test_accepted(header, essences):
    assert media_type.accepted(header) == essences


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.NATURAL),
        (" ", Form.NATURAL),
        ("*/*", Form.NATURAL),
        ("application/*", Form.NATURAL),
        ("text/html, */*;q=0.1", Form.NATURAL),
        ("Application/JSON", Form.JSON),
        ("application/json; charset=utf-8", Form.JSON),
        (SAGEMAKER, Form.SAGEMAKER_BINARY),
        ("application/octet-stream", Form.KSERVE_BINARY),
        ("application/x-npy", Form.NPY),
        ("application/json;q=0.5, application/x-npy", Form.NPY),
    ],
)
def test_choose(accept, form):
    assert negotiation.choose(accept, "") is form


@pytest.mark.parametrize("accept", ["text/html", "image/*", "application/json;q=0", "text/csv, text/html"])
def test_accept_that_cannot_be_written(accept):
    with pytest.raises(NotAcceptable, match="cannot be written"):
        ask(echo("FP32"), JSON, accept=accept)


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "text/csv", "application/octet-stream", "text/plain", "nonsense"]
)
@pytest.mark.parametrize("blanks", [b"", b" \n"])
def test_json_under_any_content_type(content_type, blanks):
    assert ask(echo("FP32"), blanks + JSON, content_type).request.inputs["X"].shape == (1,)


@pytest.mark.parametrize("content_type", ["text/csv", "application/octet-stream", "image/png", "text/plain"])
def test_what_no_codec_reads(content_type):
    with pytest.raises(UnsupportedMediaType, match=f"'{content_type}' is not read for archive 'm.tar.gz'; send"):
        ask(echo("FP32"), b"1,2,3", content_type)


@pytest.mark.parametrize(("content_type", "body"), [("text/csv", b"{1,2"), ("", b"1,2"), ("application/json", b"1,2")])
def test_what_claims_to_be_json_is_told_what_is_wrong_with_it(content_type, body):
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        ask(echo("FP32"), body, content_type)


def test_the_advice_names_text_only_where_it_is_read():
    with pytest.raises(UnsupportedMediaType, match="text/plain"):
        ask(echo("BYTES"), b"1,2", "text/csv")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "application/json"),
        (SAGEMAKER, SAGEMAKER),
        ("application/octet-stream", "application/octet-stream"),
        ("application/json", "application/json"),
    ],
)
def test_accept_fills_what_the_body_leaves_open(accept, content_type):
    answer, _ = written(ask(echo("FP32"), JSON, accept=accept), tensor("Y", "FP32", [1]))
    assert answer.content_type.split(";")[0] == content_type


def test_the_body_is_stronger_than_accept():
    doc = document([1.0], (1,), outputs=[{"name": "Y", "parameters": {"binary_data": True}}])
    answer, _ = written(ask(echo("FP32"), doc, accept="application/json"), tensor("Y", "FP32", [1]))
    assert answer.content_type.startswith(SAGEMAKER)


def test_accept_of_binary_lifts_the_ban_on_half_floats():
    target = archive([("X", "FP32", (-1,))], [("Y", "FP16", (-1,))])
    answer, _ = written(ask(target, JSON, accept=SAGEMAKER), tensor("Y", "FP16", [1]))
    assert answer.content_type.startswith(SAGEMAKER)

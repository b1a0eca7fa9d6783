"""Sections 3, 4.5 and 4.6: headers that matter and headers that do not; the status of each kind of failure."""

import gzip
import json
import zlib
from typing import NamedTuple

import pytest

from tests.blackbox.client import ONES, TARGET, kserve, outputs, tensor, text

PLAIN = json.dumps(ONES).encode()


@pytest.mark.parametrize("kind", ["", "application/json", "application/octet-stream", "text/plain", "x/y; z=1", "*"])
def test_a_json_body_is_read_under_any_content_type(multi, kind):
    assert multi.ask("linear.tar.gz", data=PLAIN, headers={"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Inference-Header-Content-Length", "5"),
        ("Accept", "*/*"),
        ("Accept", "application/json"),
        ("Expect", "100-continue"),
        ("X-Amzn-SageMaker-Session-Id", "NEW_SESSION"),
        ("X-Amzn-SageMaker-Inference-Id", "id-1"),
        ("X-Amzn-SageMaker-Inference-Component", "part"),
        ("X-Amzn-SageMaker-Target-Variant", "blue"),
        ("X-Amzn-SageMaker-Target-Container-Hostname", "host"),
        ("X-Amzn-SageMaker-Enable-Explanations", "`true`"),
        ("X-Amzn-SageMaker-Custom-Attributes", "a=b, c=d"),
        ("X-Unknown", "anything"),
    ],
)
def test_headers_that_do_not_change_the_answer(multi, header, value):
    answer = multi.ask("linear.tar.gz", data=PLAIN, headers={header: value})
    assert answer.json() == multi.ask("linear.tar.gz").json()


def test_custom_attributes_come_back(multi):
    header = "X-Amzn-SageMaker-Custom-Attributes"
    assert multi.ask("linear.tar.gz", headers={header: "c=1; t=a,b"}).headers[header] == "c=1; t=a,b"


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_compressed_bodies_are_read(multi, encoding, pack):
    answer = multi.ask("linear.tar.gz", data=pack(PLAIN), headers={"Content-Encoding": encoding})
    assert answer.status_code == 200


@pytest.mark.parametrize(("encoding", "statuses"), [("gzip", (400,)), ("br", (400, 415)), ("made-up", (400, 415))])
def test_bodies_that_are_not_what_their_encoding_says_are_refused(multi, encoding, statuses):
    assert multi.ask("linear.tar.gz", data=PLAIN, headers={"Content-Encoding": encoding}).status_code in statuses


def test_answers_are_compressed_only_where_that_was_asked_for(multi):
    large = kserve(tensor([0.0] * 10_000, [10_000]))
    plain = multi.ask("vector.tar.gz", large, headers={"Accept-Encoding": "identity"})
    packed = multi.ask("vector.tar.gz", large, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.json() == plain.json()
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"])


@pytest.mark.parametrize("size", [1, 7, 65_536])
def test_bodies_in_chunks_are_read(multi, size):
    chunks = (PLAIN[at : at + size] for at in range(0, len(PLAIN), size))
    assert multi.ask("linear.tar.gz", data=chunks).status_code == 200


@pytest.mark.parametrize("target", ["linear.tar.gz", "/linear.tar.gz", "team/linear.tar.gz", 'big name\'s "v1".tar.gz'])
def test_a_target_may_have_slashes_blanks_and_quotes(multi, target):
    answer = multi.ask(target)
    assert answer.status_code == 200
    assert answer.json()["model_name"] == target.removeprefix("/")


@pytest.mark.parametrize(
    "target",
    [
        "nowhere.tar.gz",
        "ROOM.tar.gz",
        "BLOOM",
        "CUDA out of memory",
        "../../etc/passwd",
        "a$(touch F).tar.gz",
        "`id`",
        "x" * 1024,
    ],
)
def test_an_archive_that_is_not_there_is_not_found_whatever_its_name(multi, target):
    for answer in (multi.ask(target), multi.invoke("0123abc", target=target)):
        assert answer.status_code == 404
        assert answer.json()["error"]


class Failure(NamedTuple):
    """A request whose model fails, and the statuses for `/models/.../invoke` and for `/invocations`."""

    says: str
    words: str
    multi: int
    single: int


FAILURES = [
    Failure("raises", "raise", 400, 500),
    Failure("answers with an error", "error", 400, 500),
    Failure("is out of memory", "oom", 507, 507),
    Failure("raises MemoryError", "memory", 507, 507),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.says)
def test_a_model_that_fails(multi, failure):
    invoked, invocation = (
        multi.invoke("moody.tar.gz", text(failure.words)),
        multi.ask("moody.tar.gz", text(failure.words)),
    )
    assert (invoked.status_code, invocation.status_code) == (failure.multi, failure.single)
    for answer in (invoked, invocation):
        assert answer.headers["Content-Type"] == "application/json"
        assert isinstance(answer.json()["error"], str)
    assert outputs(multi.ask("moody.tar.gz", text("hello"))) == {"OUTPUT0": ["hello"]}


@pytest.mark.parametrize(("words", "said"), [("a", "a"), ("a b c", "c")])
def test_a_decoupled_model_answers_with_its_last_response(multi, words, said):
    """Triton refuses it: 400 here and 501 there. Ours is a superset."""
    for answer in (multi.invoke("counting.tar.gz", text(words)), multi.ask("counting.tar.gz", text(words))):
        assert outputs(answer) == {"OUTPUT0": [said]}


@pytest.mark.parametrize("words", ["fail", "a fail b", ""])
def test_a_decoupled_model_that_fails_or_says_nothing(multi, words):
    invoked, invocation = (
        multi.invoke("counting.tar.gz", text(words)),
        multi.ask("counting.tar.gz", text(words)),
    )
    assert (invoked.status_code, invocation.status_code) == (400, 500)
    assert invoked.json()["error"]


def test_errors_show_nothing_of_the_host(multi):
    told = multi.ask("moody.tar.gz", text("raise")).json()["error"]
    assert "on purpose" in told
    assert "/" not in told.replace("b'", "")


def test_an_archive_larger_than_the_device_is_507_with_the_figures(multi):
    for answer in (multi.ask("too-large.tar.gz"), multi.invoke("too-large.tar.gz")):
        assert answer.status_code == 507
        assert str(1 << 50) in answer.json()["error"]
    assert multi.ask("linear.tar.gz").status_code == 200


def test_the_single_model_answers_without_a_target_and_under_its_name(single):
    answer = single.ask("")
    assert outputs(answer)["OUTPUT0"]
    name = answer.json()["model_name"]
    assert single.ask(name).json() == answer.json()
    assert single.call("POST", "/invocations", {TARGET: "another"}, json=ONES).status_code in (400, 404)


@pytest.mark.parametrize("data", [b"{nonsense", b"\xff", b"[]"])
def test_malformed_bodies_in_single_model_mode_are_the_callers_fault(single, data):
    assert single.ask("", data=data).status_code == 400

"""Session ids: which are taken, and what a model's response parameters become."""

import pytest

from server.api.sagemaker import sessions
from server.api.sagemaker.headers import for_model
from server.domain.errors import InferenceFailed, InvalidHeader
from tests.fakes.clock import FakeClock

NOON = 1_767_268_800  # 2026-01-01T12:00:00Z


def header(value):
    return {sessions.SESSION_ID: value.encode()}


@pytest.mark.parametrize("said", ["NEW_SESSION", "a", "0a-b--C9", "x" * 256])
def test_ids_of_the_pattern_are_taken(said):
    assert sessions.session_id(header(said)) == said


@pytest.mark.parametrize("said", ["", "-a", "a-", "a_b", "new session", "x" * 257, "ä", "NEW_SESSIONS", "a\tb"])
def test_other_ids_are_refused(said):
    with pytest.raises(InvalidHeader, match="Session-Id"):
        sessions.session_id(header(said))


def test_a_stream_cannot_open_a_session():
    with pytest.raises(InvalidHeader, match="stream"):
        sessions.session_id(header("NEW_SESSION"), is_new_allowed=False)
    assert sessions.session_id(header("old"), is_new_allowed=False) == "old"


def test_headers_reach_the_model_as_parameters():
    sent = {
        b"x-amzn-sagemaker-session-id": b"s-1",
        b"x-amzn-sagemaker-custom-attributes": b"a=1",
        b"x-amzn-sagemaker-inference-id": b"i-1",
    }
    assert for_model(sent) == {"session_id": "s-1", "custom_attributes": "a=1"}
    assert not for_model({b"x-amzn-sagemaker-inference-id": b"i-1"})


@pytest.mark.parametrize(
    ("expires", "written"),
    [
        (NOON, "2026-01-01T12:00:00Z"),
        (NOON + 0.9, "2026-01-01T12:00:00Z"),
        (str(NOON), "2026-01-01T12:00:00Z"),
        ("2026-01-01T12:00:00Z", "2026-01-01T12:00:00Z"),
        ("2026-01-01T14:00:00+02:00", "2026-01-01T12:00:00Z"),
        ("2026-01-01T12:00:00", "2026-01-01T12:00:00Z"),
    ],
    ids=["seconds", "fractions", "digits", "iso", "iso elsewhere", "iso nowhere"],
)
def test_a_new_session_says_until_when(expires, written):
    said = {"new_session_id": "s-1", "session_expires": expires}
    own = sessions.headers_of(said, FakeClock())
    assert own == [(sessions.NEW_SESSION_ID, f"s-1; Expires={written}".encode())]


def test_without_a_time_a_session_lives_for_an_hour():
    [(_, value)] = sessions.headers_of({"new_session_id": "s-1"}, FakeClock(wall=NOON))
    assert value == b"s-1; Expires=2026-01-01T13:00:00Z"


def test_a_closed_session_is_told():
    own = sessions.headers_of({"closed_session_id": "s-1", "other": 5}, FakeClock())
    assert own == [(sessions.CLOSED_SESSION_ID, b"s-1")]


@pytest.mark.parametrize(
    "said",
    [
        {"new_session_id": "a\r\nset-cookie: b"},
        {"closed_session_id": "a b"},
        {"new_session_id": "a", "session_expires": "tomorrow"},
        {"new_session_id": "a", "session_expires": 1e300},
        {"new_session_id": "a", "session_expires": float("nan")},
    ],
)
def test_what_no_header_can_carry_is_the_models_error(said):
    with pytest.raises(InferenceFailed, match="response parameter"):
        sessions.headers_of(said, FakeClock())

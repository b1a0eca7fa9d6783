"""Stateful sessions and what else callers say beside the body, over HTTP and with boto3."""

import json

import pytest
import requests

from tests.contract.http_fakes import SESSIONS
from tests.contract.runtime_client import runtime_client
from tests.contract.test_http_container import body

TARGET = "X-Amzn-SageMaker-Target-Model"
SESSION = "X-Amzn-SageMaker-Session-Id"
NOON = 1_767_268_800


@pytest.fixture
def sessions(start):
    """A server whose model opens `s-1` for NEW_SESSION and closes `s-2`."""
    server = start(default_model=SESSIONS)
    server.wiring.engine.said = {
        "NEW_SESSION": {"new_session_id": "s-1", "session_expires": NOON},
        "s-2": {"closed_session_id": "s-2"},
        "bad": {"new_session_id": "a\r\nx-injected: b"},
    }
    return server


def ask(server, said, path="/invocations", **headers):
    return requests.post(server.url + path, data=body(), headers={SESSION: said, **headers}, timeout=10)


@pytest.mark.parametrize("path", ["/invocations", f"/models/{SESSIONS}/invoke"])
def test_the_model_opens_and_closes_sessions(sessions, path):
    opened, closed = ask(sessions, "NEW_SESSION", path), ask(sessions, "s-2", path)
    assert opened.headers["X-Amzn-SageMaker-New-Session-Id"] == "s-1; Expires=2026-01-01T12:00:00Z"
    assert closed.headers["X-Amzn-SageMaker-Closed-Session-Id"] == "s-2"
    assert "X-Amzn-SageMaker-New-Session-Id" not in closed.headers
    assert opened.json()["outputs"] == closed.json()["outputs"]


def test_boto3_sees_sessions(sessions):
    with runtime_client(sessions.url) as client:
        arguments = {"EndpointName": "e", "ContentType": "application/json", "Body": body()}
        opened = client.invoke_endpoint(SessionId="NEW_SESSION", **arguments)
        closed = client.invoke_endpoint(SessionId="s-2", **arguments)
        with pytest.raises(client.exceptions.ValidationError, match="Session-Id"):
            client.invoke_endpoint(SessionId="no_id", **arguments)
    assert opened["NewSessionId"] == "s-1; Expires=2026-01-01T12:00:00Z"
    assert closed["ClosedSessionId"] == "s-2"
    assert json.loads(closed["Body"].read())["outputs"]


def test_a_model_without_sessions_says_nothing(single):
    answer = ask(single, "NEW_SESSION")
    assert answer.status_code == 200
    assert not [name for name in answer.headers if "session" in name.lower()]


@pytest.mark.parametrize("said", ["no_id", "-a", "a b", "x" * 257])
@pytest.mark.parametrize("path", ["/invocations", f"/models/{SESSIONS}/invoke", "/endpoints/e/invocations"])
def test_what_is_no_session_id_is_refused(sessions, path, said):
    assert ask(sessions, said, path).status_code == 400


def test_a_model_cannot_inject_headers(sessions):
    answer = ask(sessions, "bad")
    assert answer.status_code == 500
    assert "x-injected" not in answer.headers


def test_the_model_is_told_what_came_beside_the_body(sessions):
    more = {"X-Amzn-SageMaker-Custom-Attributes": "trace=1", "X-Amzn-SageMaker-Inference-Id": "i-1"}
    assert ask(sessions, "s-1", **more).headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"
    assert sessions.wiring.engine.asked == {"session_id": "s-1", "custom_attributes": "trace=1"}
    requests.post(f"{sessions.url}/invocations", data=body(), timeout=10)
    assert sessions.wiring.engine.asked == {}

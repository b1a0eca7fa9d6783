"""Section 8: streams as boto3 sees them, and stateful sessions."""

import json
from contextlib import closing

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.blackbox.client import ONES, TARGET, outputs, text
from tests.blackbox.test_runtime import boto, invoke
from tests.fakes.repositories import linear_weights
from tests.integration.until import until

JSON = "application/json"
SESSION = "X-Amzn-SageMaker-Session-Id"
OPERATION = "before-call.sagemaker-runtime.InvokeEndpointWithResponseStream"


@pytest.fixture
def runtime(multi):
    with boto(multi) as made:
        yield made


@pytest.fixture
def streaming(runtime):
    """Opens a stream of an archive. The operation has no TargetModel, so a hook adds the header."""
    target = {}

    def add_target(params, **_):
        params["headers"][TARGET] = target["is"]

    def opened(archive, document, **more):
        target["is"] = archive
        body = document if isinstance(document, bytes) else json.dumps(document)
        return runtime.invoke_endpoint_with_response_stream(EndpointName="e", Body=body, ContentType=JSON, **more)

    runtime.meta.events.register(OPERATION, add_target)
    return opened


def parts(answer, into=None):
    """The documents that a stream's events hold."""
    found = [] if into is None else into
    with closing(answer["Body"]) as events:
        for event in events:
            found += [json.loads(event["PayloadPart"]["Bytes"])]
    return found


def words(documents):
    """What the archive `counting` said in each response."""
    return [document["outputs"][0]["data"][0] for document in documents]


def test_each_response_is_an_event(streaming):
    answer = streaming("counting.tar.gz", text("one two three"), CustomAttributes="a=1")
    assert (answer["ContentType"], answer["CustomAttributes"]) == (JSON, "a=1")
    assert answer["InvokedProductionVariant"]
    assert answer["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/vnd.amazon.eventstream"
    assert words(parts(answer)) == ["one", "two", "three"]


def test_a_model_that_says_nothing_streams_nothing(streaming):
    assert parts(streaming("counting.tar.gz", text(""))) == []


def test_a_model_with_one_answer_streams_one_part(streaming):
    [document] = parts(streaming("linear.tar.gz", ONES))
    assert document["outputs"][0]["data"] == pytest.approx(linear_weights().sum(axis=0).tolist(), rel=1e-5)


def test_the_single_model_streams_without_a_target(single):
    with boto(single) as runtime:
        arguments = {"EndpointName": "e", "Body": json.dumps(ONES), "ContentType": JSON}
        [document] = parts(runtime.invoke_endpoint_with_response_stream(**arguments))
    assert document["outputs"]


def test_an_error_in_the_middle_is_raised_after_what_came_before(multi, streaming):
    restarts, read = multi.engine_facts()["restarts"], []
    with pytest.raises(EventStreamError, match="told on purpose") as caught:
        parts(streaming("counting.tar.gz", text("one fail two")), into=read)
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"
    assert words(read) == ["one"]
    assert words(parts(streaming("counting.tar.gz", text("again")))) == ["again"]
    assert multi.engine_facts()["restarts"] == restarts


@pytest.mark.parametrize(
    ("archive", "document", "code"),
    [
        ("counting.tar.gz", text("fail"), "ModelError"),
        ("linear.tar.gz", b"{nonsense", "ModelError"),
        ("nowhere.tar.gz", ONES, "ValidationError"),
    ],
)
def test_an_error_before_the_first_response_is_a_plain_error(streaming, archive, document, code):
    with pytest.raises(ClientError) as caught:
        streaming(archive, document)
    assert not isinstance(caught.value, EventStreamError)
    assert caught.value.response["Error"]["Code"] == code


def test_a_client_that_leaves_ends_the_model(multi, streaming):
    ended = multi.path("ended")
    with closing(streaming("counting.tar.gz", text(f"one endless:{ended}"))["Body"]) as events:
        assert next(iter(events))["PayloadPart"]
        assert multi.leases() == 1
    until(ended.exists, what="the model's end")
    until(lambda: multi.leases() == 0, what="the lease")
    assert words(parts(streaming("counting.tar.gz", text("again")))) == ["again"]


def test_a_model_that_dies_in_the_middle_is_an_error_and_comes_back(multi, streaming):
    read = []
    with pytest.raises(EventStreamError) as caught:
        parts(streaming("counting.tar.gz", text("one die")), into=read)
    assert caught.value.response["Error"]["Code"] == "ModelStreamError"
    assert words(read) == ["one"]
    until(lambda: multi.ask("counting.tar.gz", text("again")).status_code == 200, what="the model again")
    assert multi.leases() == 0


@pytest.fixture
def has_response_parameters(engine):
    """Triton 2.51's Python backend has none, so that a model there cannot say that it opened a session."""
    return engine == "embedded"


def test_sessions_are_opened_and_closed(runtime, has_response_parameters):
    opened = invoke(runtime, "sessions.tar.gz", text(""), SessionId="NEW_SESSION")
    used = invoke(runtime, "sessions.tar.gz", text(""), SessionId="s-1")
    closed = invoke(runtime, "sessions.tar.gz", text(""), SessionId="s-2")
    told = [json.loads(answer["Body"].read())["outputs"][0]["data"] for answer in (opened, used, closed)]
    assert told == [["NEW_SESSION"], ["s-1"], ["s-2"]]
    assert not {"NewSessionId", "ClosedSessionId"} & used.keys()
    if has_response_parameters:
        assert opened["NewSessionId"] == "s-1; Expires=2026-01-01T12:00:00Z"
        assert closed["ClosedSessionId"] == "s-2"
    else:
        assert "NewSessionId" not in opened


def test_the_container_says_sessions_in_headers(multi, has_response_parameters):
    opened = multi.ask("sessions.tar.gz", text(""), {SESSION: "NEW_SESSION"})
    closed = multi.invoke("sessions.tar.gz", text(""), headers={SESSION: "s-2"})
    new, gone = (
        opened.headers.get("X-Amzn-SageMaker-New-Session-Id"),
        closed.headers.get("X-Amzn-SageMaker-Closed-Session-Id"),
    )
    expected = ("s-1; Expires=2026-01-01T12:00:00Z", "s-2") if has_response_parameters else (None, None)
    assert (new, gone) == expected


@pytest.mark.parametrize("said", ["no_id", "-", "a b"])
def test_what_is_no_session_id_is_refused(multi, runtime, said):
    assert multi.ask("linear.tar.gz", headers={SESSION: said}).status_code == 400
    with pytest.raises(runtime.exceptions.ValidationError):
        invoke(runtime, "linear.tar.gz", SessionId=said)


def test_a_model_is_told_what_came_beside_the_body(multi):
    headers = {"X-Amzn-SageMaker-Custom-Attributes": "trace=1", SESSION: "s-9"}
    [said] = outputs(multi.ask("moody.tar.gz", text("parameters"), headers))["OUTPUT0"]
    told = json.loads(said)
    assert (told["custom_attributes"], told["session_id"]) == ("trace=1", "s-9")

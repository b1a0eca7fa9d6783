"""InvokeEndpointAsync on the wire: what 202 looks like, and that botocore reads every refusal as what it is."""

import json
from dataclasses import replace

import pytest
import requests

from server.api.app import build_app
from server.domain.clock import SystemClock
from tests.contract.http_fakes import Wiring
from tests.contract.http_server import serving
from tests.unit.jobs.job_fakes import JobsUnderTest

PREFIX = "X-Amzn-SageMaker-"
GOOD = {PREFIX + "InputLocation": "s3://in/x.json", PREFIX + "Target-Model": "echo.tar.gz"}


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    under = JobsUnderTest(tmp_path_factory.mktemp("journal"), SystemClock(), concurrency=1, limit=3)
    under.road.open.clear()
    return under


@pytest.fixture(scope="module")
def accepting(tmp_path_factory, jobs):
    """A server whose jobs wait for ever; at most three of them, beside the one that runs."""
    wiring = Wiring(tmp_path_factory.mktemp("models"))
    with serving(build_app(replace(wiring.parts, jobs=jobs.jobs))) as running:
        running.submit(jobs.jobs.begin()).result(10)
        yield running.base_url
        running.submit(jobs.jobs.drain(0.0)).result(10)


def send(url, headers=GOOD, body=b""):
    return requests.post(f"{url}/endpoints/my-endpoint/async-invocations", body, headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("InputLocation", "https://bucket.s3.amazonaws.com/x"),
        ("InputLocation", "s3://bucket"),
        ("InputLocation", "x"),
        ("InputLocation", ""),
        ("Content-Type", "a" * 1025),
        ("Accept", "a" * 1025),
        ("Custom-Attributes", "a" * 1025),
        ("Inference-Id", "a" * 65),
        ("Inference-Id", ""),
        ("Inference-Id", b"\xff\xfe"),
        ("RequestTTLSeconds", "59"),
        ("RequestTTLSeconds", "21601"),
        ("RequestTTLSeconds", "soon"),
        ("InvocationTimeoutSeconds", "0"),
        ("InvocationTimeoutSeconds", "3601"),
        ("S3OutputPathExtension", "s3://x"),
        ("S3OutputPathExtension", "../x"),
        ("Filename", "a.b.c"),
        ("Filename", "a" * 33),
        ("Target-Model", "../x"),
    ],
)
def test_a_bad_header_is_a_validation_error_that_names_it(accepting, member, value):
    answer = send(accepting, {**GOOD, PREFIX + member: value})
    assert answer.status_code == 400
    assert answer.headers["x-amzn-ErrorType"] == "ValidationError"
    message = answer.json()["Message"]
    named = {"Content-Type": "ContentType", "Custom-Attributes": "CustomAttributes", "Inference-Id": "InferenceId"}
    assert named.get(member, member) in message or member == "Target-Model"
    assert len(message) < 400


def test_bodies_that_do_not_fit_are_refused(accepting):
    both = send(accepting, body=b"x")
    neither = send(accepting, {PREFIX + "Target-Model": "echo.tar.gz"})
    large = send(accepting, {PREFIX + "Target-Model": "echo.tar.gz"}, b"x" * 128_001)
    assert (both.status_code, "exclude" in both.json()["Message"]) == (400, True)
    assert (neither.status_code, "InputLocation" in neither.json()["Message"]) == (400, True)
    assert (large.status_code, large.headers["x-amzn-ErrorType"]) == (413, "RequestEntityTooLargeException")


def test_without_a_target_and_a_default_the_header_is_named(accepting):
    answer = send(accepting, {PREFIX + "InputLocation": "s3://in/x.json"})
    assert (answer.status_code, "X-Amzn-SageMaker-Target-Model" in answer.json()["Message"]) == (400, True)


def test_switched_off_it_says_which_setting_switches_it_on(server):
    answer = send(server.url)
    assert (answer.status_code, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationError")
    assert "--async-output s3://bucket/prefix/" in answer.json()["Message"]
    assert requests.get(f"{server.url}/admin/jobs", timeout=30).json() == {"is_on": False}


def test_what_is_accepted_is_on_disk_and_what_is_too_much_is_sent_away(accepting, jobs):
    answers = [send(accepting, {**GOOD, PREFIX + "Inference-Id": f"i{n}"}) for n in range(5)]
    first = answers[0]
    assert [answer.status_code for answer in answers] == [202] * 4 + [503]
    assert json.loads(first.content) == {"InferenceId": "i0"}
    assert first.headers[PREFIX + "OutputLocation"] == "s3://out/results/i0.out"
    assert first.headers[PREFIX + "FailureLocation"] == "s3://out/failures/i0-error.out"
    assert first.headers["x-amzn-RequestId"]
    assert answers[4].headers["x-amzn-ErrorType"] == "ServiceUnavailable"
    assert answers[4].headers["retry-after"] == "5"
    shown = requests.get(f"{accepting}/admin/jobs", timeout=30).json()
    assert (shown["is_on"], shown["running"], shown["waiting"]) == (True, 1, 3)
    assert [job["inference_id"] for job in shown["next"]] == ["i1", "i2", "i3"]
    assert shown["under_way"][0]["endpoint"] == "my-endpoint"
    again = send(accepting, {**GOOD, PREFIX + "Inference-Id": "i3"})
    assert again.headers[PREFIX + "OutputLocation"] == "s3://out/results/i3.out"


def test_other_methods_are_not_known(accepting):
    assert requests.get(f"{accepting}/endpoints/e/async-invocations", timeout=30).status_code == 405

"""InvokeEndpointAsync as SageMaker's users call it: boto3, payloads and results in S3, messages over SNS, real servers."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from botocore.exceptions import ClientError

from server.domain.clock import SystemClock
from server.jobs.async_inference import Call, Job, Places, job_of
from server.jobs.journal import Journal
from server.jobs.journal_files import JournalFiles
from server.jobs.locations import S3Folder
from tests.fakes.repositories import python_model, tensor_entry
from tests.integration.async_world import JSON, World, caller, output, request
from tests.integration.live_server import LiveServer, live_server, start
from tests.integration.residency.gated_archives import Gate, write_gated
from tests.integration.residency.linear_archives import expected, inputs_of, write_archive
from tests.integration.until import until
from tests.unit.store.s3_bucket import s3_server

SERIAL = itertools.count()
INPUTS = inputs_of(1)
SEED = 3


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def world(endpoint: str) -> Iterator[World]:
    world = World(endpoint, next(SERIAL))
    yield world
    world.close()


@pytest.fixture(scope="module")
def shared_world(endpoint: str) -> Iterator[World]:
    world = World(endpoint, next(SERIAL))
    yield world
    world.close()


@pytest.fixture(scope="module")
def server(shared_world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for the tests that leave no traces: `linear` answers, `broken` raises."""
    folder = tmp_path_factory.mktemp("async")
    write_archive(folder / "store" / "linear", SEED, 0)
    python_model(
        folder / "store" / "broken" / "broken",
        """
        class TritonPythonModel:
            def execute(self, requests):
                raise ValueError("the model said no")
        """,
        "max_batch_size: 8",
        f"input [ {tensor_entry('INPUT0', 'FP32', [4])} ]",
        f"output [ {tensor_entry('OUTPUT0', 'FP32', [4])} ]",
    )
    flags = shared_world.flags("--store", folder / "store", "--async-max-input", "64KiB")
    with live_server(folder / "server", *flags, environ=shared_world.environ) as server:
        yield server


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()


def jobs_of(server: LiveServer) -> dict[str, object]:
    with requests.Session() as session:
        shown: dict[str, object] = session.get(f"{server.base_url}/admin/jobs").json()
    return shown


def test_a_result_is_written_where_the_answer_said_and_a_message_tells_of_it(server, shared_world):
    address = shared_world.put("a.json", request(INPUTS))
    with caller(server, "linear") as client:
        answer = client.invoke_endpoint_async(
            EndpointName="any", InputLocation=address, InferenceId="order 7/a", ContentType=JSON, CustomAttributes="c=1"
        )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert answer["InferenceId"] == "order 7/a"
    assert answer["OutputLocation"] == f"s3://{shared_world.out}/results/order%207%2Fa.out"
    assert answer["FailureLocation"] == f"s3://{shared_world.out}/failures/order%207%2Fa-error.out"

    result = shared_world.get(answer["OutputLocation"])
    assert result["ContentType"] == JSON
    np.testing.assert_allclose(output(result), expected(INPUTS, SEED), rtol=1e-5)
    (message,) = shared_world.successes(1)
    times = {message.pop("eventTime"), message.pop("receivedTime")}
    assert all(time.endswith("Z") and len(time) == 24 for time in times)
    assert message == {
        "awsRegion": "us-east-1",
        "invocationStatus": "Completed",
        "requestParameters": {
            "contentType": JSON,
            "customAttributes": "c=1",
            "endpointName": "any",
            "inputLocation": address,
        },
        "responseParameters": {"contentType": JSON, "outputLocation": answer["OutputLocation"]},
        "inferenceId": "order 7/a",
        "eventVersion": "1.0",
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }


def test_names_of_results_may_be_chosen_and_the_object_s_own_type_counts(server, shared_world):
    address = shared_world.put("b.json", request(INPUTS), JSON)
    with caller(server, "linear") as client:
        answer = client.invoke_endpoint_async(
            EndpointName="any", InputLocation=address, S3OutputPathExtension="team/a", Filename="answer.json"
        )
    assert answer["OutputLocation"] == f"s3://{shared_world.out}/results/team/a/answer.json"
    np.testing.assert_allclose(output(shared_world.get(answer["OutputLocation"])), expected(INPUTS, SEED), rtol=1e-5)
    assert shared_world.successes(1)[0]["inferenceId"] == answer["InferenceId"]


def test_a_payload_may_come_with_the_call_and_the_answer_in_another_form(server, shared_world):
    with caller(server, "linear") as client:
        answer = client.invoke_endpoint_async(
            EndpointName="any", Body=request(INPUTS), ContentType=JSON, Accept="application/x-npy"
        )
    result = shared_world.get(answer["OutputLocation"])
    assert shared_world.successes(1)[0]["responseParameters"]["contentType"] == result["ContentType"]
    assert result["Body"].read()


@pytest.mark.parametrize(
    ("target", "key", "reason"),
    [
        ("broken", "c.json", "InferenceFailed: .*the model said no"),
        ("linear", "missing.json", "InvalidRequest: the payload s3://inputs-.*/missing.json does not exist"),
        ("linear", "large.json", "InvalidRequest: .* is larger than the limit of 65536 bytes"),
        ("linear", "bad.json", "InvalidRequest: "),
        ("nowhere", "c.json", "ArchiveNotFound: archive 'nowhere' was not found"),
    ],
)
def test_a_failure_is_written_and_told_with_its_reason(server, shared_world, target, key, reason):
    shared_world.put("c.json", request(INPUTS))
    shared_world.put("bad.json", b"{")
    shared_world.put("large.json", bytes(65537))
    address = f"s3://{shared_world.inputs}/{key}"
    with caller(server, target) as client:
        answer = client.invoke_endpoint_async(EndpointName="any", InputLocation=address)
    failure = shared_world.get(answer["FailureLocation"])
    document = json.loads(failure["Body"].read())
    (message,) = shared_world.errors(1)

    assert failure["ContentType"] == JSON
    assert document["invocationStatus"] == message["invocationStatus"] == "Failed"
    assert document["error"] == message["failureReason"]
    assert re.match(reason, document["error"]), document
    assert document["inferenceId"] == message["inferenceId"] == answer["InferenceId"]
    assert message["responseParameters"] == {"contentType": JSON, "failureLocation": answer["FailureLocation"]}


def test_a_wrong_member_is_the_class_that_botocore_knows(server):
    with caller(server, "linear") as client, pytest.raises(client.exceptions.ValidationError) as raised:
        client.invoke_endpoint_async(EndpointName="any", InputLocation="s3://in/x", RequestTTLSeconds=21601)
    assert "from 60 to 21600, got '21601'" in str(raised.value)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_what_happens_is_shown_and_counted(server, shared_world):
    with caller(server, "linear") as client:
        answer = client.invoke_endpoint_async(EndpointName="any", Body=request(INPUTS), ContentType=JSON)
    shared_world.get(answer["OutputLocation"])
    assert [message["inferenceId"] for message in shared_world.successes(1)] == [answer["InferenceId"]]
    shown = until(lambda: (found := jobs_of(server))["running"] == 0 and found, what="no job under way")
    with requests.Session() as session:
        page = session.get(f"{server.base_url}/metrics").text
    assert shown["output"] == f"s3://{shared_world.out}/results/"
    assert shown["last"][0]["inference_id"] == answer["InferenceId"]
    assert shown["last"][0]["written"] == answer["OutputLocation"]
    assert f"roundhouse_jobs_succeeded {shown['ended']['Completed']:.1f}" in page
    assert {f"roundhouse_jobs_{name}" for name in ("queued", "running", "failed", "expired")} <= set(page.split())


def test_without_a_default_model_the_header_is_named(server):
    with caller(server) as client, pytest.raises(client.exceptions.ValidationError, match="Target-Model"):
        client.invoke_endpoint_async(EndpointName="any", InputLocation="s3://inputs/x")


def gated_flags(tmp_path: Path, world: World, gate: Gate, *more: object) -> tuple[object, ...]:
    write_gated(tmp_path / "store" / "gated", gate)
    return world.flags("--store", tmp_path / "store", "--default-model", "gated", "--async-concurrency", 2, *more)


def left_job(tmp_path: Path, world: World, name: str, starts: int = 0, age_s: float = 0.0) -> Job:
    """What an earlier server left in the journal: a job that was under way `starts` times when it died."""
    places = Places(S3Folder(world.out, "results"), S3Folder(world.out, "failures"))
    call = Call("any", "gated", {"RequestTTLSeconds": "60"}, request(INPUTS))
    job = job_of(call, places, name, SystemClock().wall() - age_s)
    journal = Journal(JournalFiles(tmp_path / "server" / "cache" / "jobs"))
    journal.recover()
    journal.accept(job, call.body)
    journal.mark(job, starts)
    return job


def send(server: LiveServer, world: World, count: int) -> list[str]:
    """Ask for `count` results, each of another payload; returns where they will be."""
    with caller(server) as client:
        return [
            client.invoke_endpoint_async(
                EndpointName="any", InputLocation=world.put(f"{n}.json", request(inputs_of(n))), InferenceId=f"job-{n}"
            )["OutputLocation"]
            for n in range(count)
        ]


def assert_results(world: World, addresses: list[str]) -> None:
    for n, address in enumerate(addresses):
        np.testing.assert_allclose(output(world.get(address)), 2 * inputs_of(n), rtol=1e-6)


def test_killed_with_accepted_jobs_the_next_server_does_them(tmp_path, world, gate):
    flags = gated_flags(tmp_path, world, gate, "--async-queue", 4)
    killed = start(tmp_path / "server", *flags, environ=world.environ)
    killed.await_ready()
    addresses = send(killed, world, 6)
    until(lambda: gate.is_reached, what="a job inside the model")
    with caller(killed) as client:
        with pytest.raises(ClientError, match="more than 4 jobs would wait") as full:
            client.invoke_endpoint_async(EndpointName="any", Body=request(INPUTS))
        again = client.invoke_endpoint_async(
            EndpointName="any", InputLocation=f"s3://{world.inputs}/5.json", InferenceId="job-5"
        )
    shown = jobs_of(killed)
    killed.process.kill()
    killed.wait()

    assert full.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert full.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "5"
    assert again["OutputLocation"] == addresses[5], "a call that is repeated is the same job"
    assert (shown["running"], shown["waiting"]) == (2, 4)
    assert world.written() == []
    gate.open()
    with live_server(tmp_path / "server", *flags, environ=world.environ) as server:
        assert "6 jobs of an earlier run go on" in server.text()
        assert_results(world, addresses)
        assert sorted(message["inferenceId"] for message in world.successes(6)) == [f"job-{n}" for n in range(6)]
    assert len(world.written()) == 6
    assert list((tmp_path / "server" / "cache" / "jobs").iterdir()) == []


def test_at_sigterm_what_runs_finishes_and_what_waits_is_left_to_the_next_server(tmp_path, world, gate):
    flags = gated_flags(tmp_path, world, gate)
    with live_server(tmp_path / "server", *flags, environ=world.environ) as stopped:
        addresses = send(stopped, world, 5)
        until(lambda: gate.is_reached and jobs_of(stopped)["running"] == 2, what="two jobs under way")
        stopped.terminate()
        with caller(stopped) as client:

            def refused() -> str:
                with pytest.raises(ClientError) as raised:
                    client.invoke_endpoint_async(EndpointName="any", Body=request(INPUTS))
                return str(raised.value)

            assert "shutting down" in refused()
        gate.open()
        assert stopped.wait() == 0
        text = stopped.text()

    assert "3 jobs wait for the next start" in text
    assert len(world.written()) == 2
    names = sorted(path.name for path in (tmp_path / "server" / "cache" / "jobs").iterdir())
    assert [name.rpartition("-")[2].split(".")[1] for name in names] == ["0"] * 3, "none of them counts as begun"
    with live_server(tmp_path / "server", *flags, environ=world.environ):
        assert_results(world, addresses)
        assert len(world.successes(5)) == 5


def test_what_an_earlier_server_left_is_told_apart(tmp_path, world, gate):
    """Too old; under way whenever a server died; written already, its payload gone. None of them is run."""
    flags = gated_flags(tmp_path, world, gate)
    old = left_job(tmp_path, world, "old", age_s=61.0)
    deadly = left_job(tmp_path, world, "deadly", starts=3)
    made = left_job(tmp_path, world, "made", starts=1)
    world.s3.put_object(
        Bucket=world.out, Key=made.output.key, Body=b"made", ContentType="text/x", Metadata={"roundhouse-job": made.id}
    )
    with live_server(tmp_path / "server", *flags, environ=world.environ) as server:
        errors = {message["inferenceId"]: message for message in world.errors(2)}
        (success,) = world.successes(1)
        assert until(lambda: jobs_of(server)["running"] == 0, what="no job under way")
        assert jobs_of(server)["ended"] == {"Completed": 1, "Failed": 1, "Expired": 1}

    assert errors["old"]["invocationStatus"] == "Expired"
    assert "longer than 60 s" in errors["old"]["failureReason"]
    assert json.loads(world.get(str(old.failure))["Body"].read())["invocationStatus"] == "Expired"
    assert errors["deadly"]["invocationStatus"] == "Failed"
    assert "the server died 3 times" in errors["deadly"]["failureReason"]
    assert success["responseParameters"] == {"contentType": "text/x", "outputLocation": str(made.output)}
    assert world.get(str(made.output))["Body"].read() == b"made"
    assert sorted(world.written()) == sorted([old.failure.key, deadly.failure.key, made.output.key])
    assert not gate.is_reached
    assert list((tmp_path / "server" / "cache" / "jobs").iterdir()) == []

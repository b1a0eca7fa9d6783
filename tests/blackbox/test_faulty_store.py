"""An S3 that is there, that is gone, and that never answers. Does not depend on the engine."""

import socket
from contextlib import ExitStack, closing, contextmanager

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from server.domain.clock import SystemClock
from tests.blackbox.archives import STORE, pack
from tests.blackbox.client import Client, outputs
from tests.blackbox.test_faulty_archives import told
from tests.integration.live_server import free_port, live_server
from tests.integration.until import until

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
FLAGS = ("--engine", "embedded", "--load-timeout-s", 2, "--request-timeout-s", 8, "--store", "s3://models/prod")
SOON_S = 10
"""Refused connections are tried three times with pauses; then the caller hears of it."""


@contextmanager
def s3(port: int):
    """Moto's S3 over HTTP."""
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        server._server.server_close()


@contextmanager
def bucket(endpoint: str):
    """A writer of archives."""
    made = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with closing(made):
        yield made


def upload(writer, folder, *names) -> None:
    """Put archives of the black-box store into the bucket."""
    for name in names:
        root = folder / "unpacked" / name
        root.mkdir(parents=True)
        STORE[name](root)
        writer.put_object(Bucket="models", Key=f"prod/{name}", Body=pack(root, folder / "packed" / name).read_bytes())


def test_archives_come_from_s3_and_stay_when_it_goes(tmp_path):
    port, clock = free_port(), SystemClock()
    with ExitStack() as stack:
        with s3(port) as endpoint, bucket(endpoint) as writer:
            writer.create_bucket(Bucket="models")
            upload(writer, tmp_path, "linear.tar.gz", "team/linear.tar.gz", "echo.tar.gz")
            writer.put_object(Bucket="models", Key="prod/broken.tar.gz", Body=b"not a tar")
            live = stack.enter_context(
                live_server(tmp_path, *FLAGS, "--s3-endpoint-url", endpoint, environ=CREDENTIALS)
            )
            client = Client(live, "embedded", tmp_path)
            answer = client.ask("linear.tar.gz")
            assert (answer.status_code, answer.headers["x-roundhouse-warmth"]) == (200, "store")
            assert client.ask("team/linear.tar.gz").status_code == 200
            assert client.ask("nowhere.tar.gz").status_code == 404
            assert client.invoke("broken.tar.gz").status_code == 400
            assert {"linear.tar.gz", "team/linear.tar.gz"} <= {
                each["name"] for each in client.get("/admin/archives").json()["archives"]
            }
            writer.delete_object(Bucket="models", Key="prod/team/linear.tar.gz")
            until(lambda: client.ask("team/linear.tar.gz").status_code == 404, 20, "the end of the archive")
        began = clock.now()
        missing = client.ask("echo.tar.gz")
        assert missing.status_code == 503
        assert missing.json()["error"]
        assert told(client, "echo.tar.gz")["Error"]["Code"] in ("ServiceUnavailable", "ModelNotReadyException")
        assert clock.now() - began < 2 * SOON_S
        for _ in range(3):
            assert outputs(client.ask("linear.tar.gz")) == outputs(answer)
        assert client.get("/ping").status_code == 200
        with s3(port) as endpoint, bucket(endpoint) as writer:
            writer.create_bucket(Bucket="models")
            upload(writer, tmp_path / "again", "echo.tar.gz")
            until(lambda: client.ask("echo.tar.gz").status_code == 200, 20, "S3's return")


@pytest.fixture
def silent():
    """An endpoint that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_an_s3_that_never_answers_costs_a_request_no_more_than_its_time(tmp_path, silent):
    clock = SystemClock()
    with live_server(tmp_path, *FLAGS, "--s3-endpoint-url", silent, environ=CREDENTIALS) as live:
        client = Client(live, "embedded", tmp_path)
        began = clock.now()
        answer = client.ask("linear.tar.gz")
        took_s = clock.now() - began
        assert answer.status_code == 503
        assert int(answer.headers.get("Retry-After", "1")) >= 1
        assert took_s < SOON_S
        assert client.get("/ping", timeout=1).status_code == 200
        assert client.leases() == 0


def test_an_s3_that_is_not_there_is_told(tmp_path):
    with live_server(
        tmp_path, *FLAGS, "--s3-endpoint-url", f"http://127.0.0.1:{free_port()}", environ=CREDENTIALS
    ) as live:
        client = Client(live, "embedded", tmp_path)
        assert client.ask("linear.tar.gz").status_code == 503
        assert told(client, "linear.tar.gz")["ResponseMetadata"]["HTTPStatusCode"] in (429, 503)
        assert client.get("/ping").status_code == 200

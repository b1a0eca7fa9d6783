"""Moto's S3 on loopback, and the side that writes to it: past the proxy, so that no upload is harmed by it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

from benchmarks.chaos.server import CREDENTIALS

BUCKET: Final = "models"
PREFIX: Final = "prod"


class S3Bucket:
    """Implements `conductor.Bucket`."""

    def __init__(self, client: Any, port: int) -> None:
        self._client = client
        self.port = port

    def put(self, name: str, content: bytes) -> None:
        """Write an object, whole or not at all."""
        self._client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}", Body=content)

    def delete(self, name: str) -> None:
        """Remove it."""
        self._client.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}")


@contextmanager
def s3_bucket() -> Iterator[S3Bucket]:
    """An empty bucket."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # a line for each request otherwise
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    _, port = moto.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        config=Config(retries={"total_max_attempts": 3}),
    )
    try:
        client.create_bucket(Bucket=BUCKET)
        yield S3Bucket(client, port)
    finally:
        client.close()
        moto.stop()

"""boto3's own client of the SageMaker runtime, against a server under test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config


@contextmanager
def runtime_client(url: str) -> Iterator[Any]:
    """A client that shows the first error instead of retrying."""
    client = boto3.client(
        "sagemaker-runtime",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30),
    )
    try:
        yield client
    finally:
        client.close()

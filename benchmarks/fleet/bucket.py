"""The local S3 of a fleet: a moto server as a process of its own, filled over HTTP as a deployer would."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import boto3

from benchmarks.fleet.archives import Packed

BUCKET: Final = "fleet"
CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_SPOOLED_FROM_BYTES: Final = 64 << 10
_UPLOADS: Final = 4


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix in a bucket. `url` is what `--store` takes."""

    endpoint: str
    prefix: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"s3://{BUCKET}/{self.prefix}"

    def fill(self, archives: Iterable[Packed], done: Callable[[str], None] = lambda _: None) -> dict[str, int]:
        """Upload; returns the bytes of each archive by name."""
        client = _client(self.endpoint)
        sizes: dict[str, int] = {}

        def put(packed: Packed) -> None:
            client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{packed.name}", Body=packed.content)
            sizes[packed.name] = len(packed.content)
            done(packed.name)

        source = iter(archives)
        with ThreadPoolExecutor(_UPLOADS) as pool:
            while few := list(islice(source, 8 * _UPLOADS)):  # never the whole fleet in memory
                list(pool.map(put, few))
        return sizes


@contextmanager
def local_s3(scratch: Path) -> Iterator[str]:
    """An S3 with one empty bucket; yields its endpoint. Large objects lie in `scratch`."""
    spool = {"MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(_SPOOLED_FROM_BYTES), "TMPDIR": str(scratch)}
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fleet.bucket_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | CREDENTIALS | spool,
        start_new_session=True,  # a Ctrl-C at the terminal is for the scenario, which then ends this process
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        endpoint = process.stdout.readline().strip()
        if not endpoint:
            raise RuntimeError(f"the local S3 ended with {process.wait()} before it was ready: make setup brings moto")
        _client(endpoint).create_bucket(Bucket=BUCKET)
        yield endpoint
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _client(endpoint: str) -> Any:
    session = boto3.session.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
    )
    return session.client("s3", endpoint_url=endpoint)

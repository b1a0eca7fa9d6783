"""How to reach a bucket: address, patience, parallelism. Credentials come from boto3's default chain alone."""

from dataclasses import dataclass
from typing import Any, Self

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where the archives are, and how long to wait for them."""

    bucket: str
    prefix: str = ""
    """Without slashes at its ends; empty for the whole bucket."""
    endpoint_url: str | None = None
    """Another S3 than Amazon's. `None`: `AWS_ENDPOINT_URL` and the profile decide, as always with boto3."""
    region: str | None = None
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 30.0
    attempts: int = 3
    """Tries per call in all, with boto3's back-off between them."""
    transfer_threads: int = 8
    """Ranges of one archive that are downloaded side by side."""
    range_bytes: int = 16 * 1024 * 1024

    @classmethod
    def from_url(cls, url: str, endpoint_url: str | None = None, region: str | None = None) -> Self:
        """Read `s3://bucket/prefix`. Raises ValueError for anything else."""
        scheme, separator, rest = url.partition("://")
        bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not separator or not bucket:
            raise ValueError(f"{url!r} is not an S3 address; write s3://bucket or s3://bucket/prefix")
        return cls(bucket=bucket, prefix=prefix.strip("/"), endpoint_url=endpoint_url or None, region=region or None)

    def client(self) -> Any:
        """A boto3 S3 client, which may be used from several threads."""
        config = Config(
            connect_timeout=self.connect_timeout_s,
            read_timeout=self.read_timeout_s,
            retries={"total_max_attempts": self.attempts, "mode": "standard"},
            max_pool_connections=4 * self.transfer_threads,
        )
        return boto3.session.Session().client(
            "s3", endpoint_url=self.endpoint_url, region_name=self.region, config=config
        )

    def transfer_config(self) -> TransferConfig:
        """Every download in ranges, however small: only ranged downloads carry `If-Match`."""
        return TransferConfig(
            multipart_threshold=1,
            multipart_chunksize=self.range_bytes,
            max_concurrency=self.transfer_threads,
            num_download_attempts=self.attempts,
        )

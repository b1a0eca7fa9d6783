"""Objects in S3, as `s3://bucket/key`. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote

_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PLAIN: Final = "!_.*'()-"
"""What S3 calls safe in keys, beside letters and digits."""


@dataclass(frozen=True, slots=True)
class S3Location:
    """One object. `str` gives its address."""

    bucket: str
    key: str

    @classmethod
    def read(cls, address: str) -> Self:
        """Read `s3://bucket/key`, as it is: nothing is percent-decoded. Raises ValueError for anything else."""
        bucket, key = _taken_apart(address)
        if not key or key.endswith("/"):
            raise ValueError(f"{address!r} names no object; write s3://bucket/key")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class S3Folder:
    """What lies below an address. `prefix` has no slashes at its ends, and is empty for a whole bucket."""

    bucket: str
    prefix: str = ""

    @classmethod
    def read(cls, address: str) -> Self:
        """Read `s3://bucket/prefix/`. Raises ValueError for anything else."""
        bucket, prefix = _taken_apart(address)
        return cls(bucket, prefix.strip("/"))

    def object(self, *path: str) -> S3Location:
        """Name an object below; empty parts are left out."""
        return S3Location(self.bucket, "/".join(part for part in (self.prefix, *path) if part))

    def holds(self, location: S3Location) -> bool:
        """Whether the object lies below; a key with `.` or `..` between its slashes never does.

        To S3 these are names like others, but what stands in for S3 may resolve them.
        """
        path = location.key.split("/")
        below = self.prefix.split("/") if self.prefix else []
        is_plain = {".", ".."}.isdisjoint(path)
        return is_plain and location.bucket == self.bucket and path[:-1][: len(below)] == below

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}/" if self.prefix else f"s3://{self.bucket}/"


def as_key(text: str) -> str:
    """Write any text as one part of a key; what S3 does not call safe is percent-encoded."""
    return quote(text, safe=_PLAIN)


def _taken_apart(address: str) -> tuple[str, str]:
    scheme, separator, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not separator or not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{address!r} is not an S3 address; write s3://bucket/prefix")
    return bucket, key

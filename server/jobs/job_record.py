"""A job as a file: a line of JSON, then the payload that came with the call. Pure."""

import json
from dataclasses import asdict
from typing import Any, Final

from server.jobs.async_inference import Job
from server.jobs.locations import S3Location

_FORMAT: Final = 1


def dump(job: Job, body: bytes) -> bytes:
    """Write a job down."""
    fields = {**asdict(job), "output": str(job.output), "failure": str(job.failure)}
    return json.dumps({"format": _FORMAT, "body_bytes": len(body), **fields}).encode() + b"\n" + body


def load(record: bytes) -> tuple[Job, bytes]:
    """Read a job and its payload back. Raises ValueError for what is no record, or not a whole one."""
    line, _, body = record.partition(b"\n")
    try:
        fields: dict[str, Any] = json.loads(line)
        if fields.pop("format") != _FORMAT:
            raise ValueError("a record of another format")
        if fields.pop("body_bytes") != len(body):
            raise ValueError("the record is cut off")
        for name in ("output", "failure"):
            fields[name] = S3Location.read(fields[name])
        return Job(**fields), body
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record: {error!r}") from error

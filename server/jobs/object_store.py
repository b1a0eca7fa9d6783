"""Payloads, results and failures as objects in S3. Credentials come from boto3's default chain alone.

Every written object says which job wrote it, so that a job that is run again after a crash can tell whether its
result is there already.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from server.domain.errors import InvalidRequest, StoreUnavailable
from server.domain.payload import Body
from server.jobs.locations import S3Location
from server.jobs.ports import Fetched, Written
from server.store.threads import StoreThreads

JOB: Final = "roundhouse-job"
"""The name of an object's metadata (`x-amz-meta-roundhouse-job`) that holds the id of the job that wrote it."""

_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_REFUSED: Final = frozenset({"401", "403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
_UNTYPED: Final = frozenset({"binary/octet-stream", "application/octet-stream"})
"""What S3 says of an object whose writer did not say what it is."""


class S3Objects:
    """Objects of any bucket that the credentials reach."""

    def __init__(self, client: Callable[[], Any], threads: StoreThreads, max_input_bytes: int) -> None:
        self._client = client()
        self._threads = threads
        self._max_input_bytes = max_input_bytes

    async def get(self, location: S3Location) -> Fetched:
        """See ObjectStore."""
        return await self._threads.check(self._get, location)

    async def put(self, location: S3Location, body: Body, content_type: str, job_id: str) -> None:
        """See ObjectStore."""
        await self._threads.check(self._put, location, body, content_type, job_id)

    async def written(self, location: S3Location) -> Written | None:
        """See ObjectStore."""
        return await self._threads.check(self._written, location)

    def close(self) -> None:
        """See ObjectStore."""
        self._client.close()

    def _get(self, location: S3Location) -> Fetched:
        with _reading(location):
            found = self._client.get_object(Bucket=location.bucket, Key=location.key)
            with found["Body"] as stream:
                if int(found["ContentLength"]) > self._max_input_bytes:
                    raise InvalidRequest(f"{location} is larger than the limit of {self._max_input_bytes} bytes")
                body = stream.read()
        content_type = str(found.get("ContentType", ""))
        return Fetched(body, "" if content_type in _UNTYPED else content_type)

    def _put(self, location: S3Location, body: Body, content_type: str, job_id: str) -> None:
        whole = b"".join(body)  # here, in a thread: results may be large
        with _asking(location, "written"):
            self._client.put_object(
                Bucket=location.bucket, Key=location.key, Body=whole, ContentType=content_type, Metadata={JOB: job_id}
            )

    def _written(self, location: S3Location) -> Written | None:
        with _asking(location, "read"):
            try:
                head = self._client.head_object(Bucket=location.bucket, Key=location.key)
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
        return Written(str(head.get("Metadata", {}).get(JOB, "")), str(head.get("ContentType", "")))


@contextmanager
def _reading(location: S3Location) -> Iterator[None]:
    """Tell what is the caller's fault: a payload that is not there, or that we may not read."""
    try:
        with _asking(location, "read"):
            yield
    except StoreUnavailable as error:
        code = _code(error.__cause__) if isinstance(error.__cause__, ClientError) else ""
        if code in _MISSING or code == "NoSuchBucket":
            raise InvalidRequest(f"the payload {location} does not exist") from error
        if code in _REFUSED:
            raise InvalidRequest(str(error)) from error
        raise


@contextmanager
def _asking(location: S3Location, verb: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise StoreUnavailable(_told(error, location, verb)) from error
    except NoCredentialsError as error:
        raise StoreUnavailable(f"{location} cannot be {verb}: boto3 found no credentials") from error
    except (BotoCoreError, OSError) as error:  # OSError: the connection broke under the body
        raise StoreUnavailable(f"{location} cannot be {verb}: {type(error).__name__}: {error}") from error


def _told(error: ClientError, location: S3Location, verb: str) -> str:
    code = _code(error)
    if code in _REFUSED:
        return f"{location} may not be {verb} ({code}): check the credentials and the policy"
    if code == "NoSuchBucket":
        return f"{location} cannot be {verb}: there is no such bucket"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return f"{location} cannot be {verb}: S3 answered {status} {code}"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))

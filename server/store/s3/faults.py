"""What S3 and botocore say when something is wrong, told in the words of `domain.errors`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError
from s3transfer.exceptions import (
    RetriesExceededError,
    S3DownloadFailedError,
    S3ValidationError,
)

from server.domain.errors import ArchiveNotFound, StoreUnavailable
from server.store.origin import OriginChanged

_MISSING: Final = frozenset({"404", "NoSuchKey", "NotFound"})
_CHANGED: Final = frozenset({"412", "PreconditionFailed", "416", "InvalidRange"})
_REFUSED: Final = frozenset({"401", "403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch"})


@contextmanager
def asking(name: str, bucket: str, key: str) -> Iterator[None]:
    """Translate the failures of S3 calls about one archive (or, with an empty name, about the whole prefix)."""
    try:
        yield
    except ClientError as error:
        raise _translated(error, name, bucket, key) from error
    except (S3DownloadFailedError, S3ValidationError) as error:  # the `If-Match` or the range no longer fits
        raise OriginChanged(name) from error
    except (BotoCoreError, RetriesExceededError) as error:
        raise StoreUnavailable(f"{_address(bucket, key)} {_cause(error)}") from error
    except (KeyError, ResponseParserError) as error:  # botocore takes a head that breaks off for a short one
        raise StoreUnavailable(f"{_address(bucket, key)} cannot be read: the answer broke off") from error


def _translated(error: ClientError, name: str, bucket: str, key: str) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _MISSING and name:
        return ArchiveNotFound(name)
    if code in _CHANGED:
        return OriginChanged(name)
    if code in _REFUSED or status in {401, 403}:
        return StoreUnavailable(
            f"{_address(bucket, key)} may not be read ({code}): check the credentials and the policy"
        )
    if code == "NoSuchBucket":
        return StoreUnavailable(f"there is no bucket {bucket!r}: check the store's address")
    return StoreUnavailable(f"{_address(bucket, key)} cannot be read: S3 answered {status} {code}")


def _cause(error: Exception) -> str:
    if isinstance(error, NoCredentialsError):
        return "cannot be read: boto3 found no credentials"
    return f"cannot be reached: {type(error).__name__}: {error}"


def _address(bucket: str, key: str) -> str:
    return f"s3://{bucket}/{key}"

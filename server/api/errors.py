"""Errors as HTTP: one table from error class to status per surface, and each surface's way to write them.

Nothing else in the server knows a status code of an error. The rows:
- `multi`, `single`: the container contract. A 507 makes the platform evict models, so only missing memory or disk gives
  one. For `/models` (multi) a failing model is a 400 and for `/invocations` (single) a 500, as Triton has it.
- `kserve`: what Triton's own HTTP front end answers; also used for our own routes.
- `runtime`: the botocore error class. `ModelError` (424) wraps what a container would have said, which is the `single`
  column. 429 is given only for an archive that is not there yet: after waiting for it, or at once where too many
  wait or the predicted wait is too long. Of boto3's retry modes `legacy` comes back for it, `standard` (the default of
  newer versions) tells its caller.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from server.api.surface import JSON, RawHeaders, Surface
from server.domain import errors as e

RUNTIME_STATUSES: Final[Mapping[str, int]] = {
    "ValidationError": 400,
    "RequestEntityTooLargeException": 413,  # not in botocore's model: raised as a plain ClientError with this code
    "ModelError": 424,
    "ModelNotReadyException": 429,
    "InternalFailure": 500,
    "ServiceUnavailable": 503,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One error class on every surface: three statuses and a botocore class."""

    multi: int
    single: int
    kserve: int
    runtime: str


TABLE: Final[Mapping[type[e.RoundhouseError], Row]] = {
    e.RoundhouseError: Row(500, 500, 500, "InternalFailure"),
    e.ClientError: Row(400, 400, 400, "ModelError"),
    e.InvalidRequest: Row(400, 400, 400, "ModelError"),
    e.InvalidHeader: Row(400, 400, 400, "ValidationError"),
    e.WrongTarget: Row(400, 400, 400, "ValidationError"),
    e.PayloadTooLarge: Row(413, 413, 413, "RequestEntityTooLargeException"),
    e.UnsupportedMediaType: Row(415, 415, 415, "ModelError"),
    e.NotAcceptable: Row(406, 406, 406, "ModelError"),
    e.ArchiveNotFound: Row(404, 404, 404, "ValidationError"),
    e.NotLoaded: Row(404, 404, 404, "ValidationError"),
    e.AlreadyLoaded: Row(409, 409, 409, "ValidationError"),
    e.InvalidArchive: Row(400, 400, 400, "ModelError"),
    e.ForbiddenPath: Row(400, 400, 400, "ValidationError"),
    e.UnsupportedModel: Row(400, 501, 400, "ModelError"),
    e.UnsupportedOperation: Row(501, 501, 501, "ValidationError"),
    e.CapacityError: Row(503, 503, 503, "ServiceUnavailable"),
    e.DeviceFull: Row(507, 507, 507, "ModelError"),
    e.DiskFull: Row(507, 507, 507, "ModelError"),
    e.NotReady: Row(503, 503, 503, "ModelNotReadyException"),
    e.Overloaded: Row(503, 503, 503, "ServiceUnavailable"),
    e.Draining: Row(503, 503, 503, "ServiceUnavailable"),
    e.BackendError: Row(500, 500, 500, "ModelError"),
    e.LoadFailed: Row(400, 500, 400, "ModelError"),
    e.InferenceFailed: Row(400, 500, 500, "ModelError"),
    e.EngineLost: Row(503, 503, 503, "ServiceUnavailable"),
    e.DeadlineExceeded: Row(504, 504, 504, "ModelError"),
    e.StoreUnavailable: Row(503, 503, 503, "ServiceUnavailable"),
    e.Bug: Row(500, 500, 500, "InternalFailure"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error, ready to be sent."""

    status: int
    headers: RawHeaders
    body: bytes


def status_of(surface: Surface, error: e.RoundhouseError) -> int:
    """Look up the HTTP status of an error on a surface."""
    row = row_of(error)
    if surface is Surface.RUNTIME:
        return RUNTIME_STATUSES[row.runtime]
    return {Surface.MULTI: row.multi, Surface.SINGLE: row.single}.get(surface, row.kserve)


def row_of(error: e.RoundhouseError) -> Row:
    """Look up an error's row; a class without one has its nearest base's."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def refusal(surface: Surface, error: e.RoundhouseError) -> Refusal:
    """Write an error the way a surface's clients read it."""
    status = status_of(surface, error)
    headers: RawHeaders = [(b"content-type", JSON)]
    if isinstance(error, e.NotReady | e.Overloaded | e.Draining):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s))))
    if surface is not Surface.RUNTIME:
        return Refusal(status, headers, orjson.dumps({"error": str(error)}))
    row = row_of(error)
    headers.append((b"x-amzn-errortype", row.runtime.encode()))
    return Refusal(status, headers, orjson.dumps(_runtime_body(row, str(error))))


def plain_refusal(surface: Surface, status: int, message: str) -> Refusal:
    """Write a refusal of HTTP itself: no such route, no such method."""
    if surface is Surface.RUNTIME:
        headers = [(b"content-type", JSON), (b"x-amzn-errortype", b"ValidationError")]
        return Refusal(status, headers, orjson.dumps({"Message": message}))
    return Refusal(status, [(b"content-type", JSON)], orjson.dumps({"error": message}))


def as_known(error: Exception) -> e.RoundhouseError:
    """Return the error itself, or a `Bug` that hides what a caller has no business with."""
    if isinstance(error, e.RoundhouseError):
        return error
    return e.Bug("internal error; the server's log has the details under this answer's request id")


def _runtime_body(row: Row, message: str) -> dict[str, object]:
    if row.runtime != "ModelError":
        return {"Message": message}
    side = "client" if row.single < 500 else "server"
    original = orjson.dumps({"error": message}).decode()
    return {
        "Message": f'Received {side} error ({row.single}) from primary with message "{original}".',
        "OriginalStatusCode": row.single,
        "OriginalMessage": original,
        "LogStreamArn": "",
    }

"""Objects to files: parallel ranged downloads that fail when an object is no longer the one that was looked at."""

from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from boto3.s3.transfer import TransferManager
from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

from server.domain.errors import StoreUnavailable
from server.store import faults
from server.store.s3.faults import asking
from server.store.s3.options import S3Options

SMALL_BYTES: Final = 256 << 10
"""One object up to this size, and no larger than a range, is one GET in the caller's thread. A transfer brings threads
of its own, which takes longer than to fetch the few kilobytes of a head."""
_BROKEN_OFF: Final = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
"""What may go wrong behind an answer's head, where botocore does not try again by itself."""


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object as S3 described it. `relative` is its path below what was asked for."""

    key: str
    etag: str
    size: int
    relative: str


class _KnownObject:
    """Tells the transfer what it would otherwise ask again: the size, and the ETag that it must insist on."""

    def __init__(self, item: S3Object) -> None:
        self._item = item

    def on_queued(self, future: Any, **_: object) -> None:
        future.meta.provide_transfer_size(self._item.size)
        future.meta.provide_object_etag(self._item.etag)


class Download:
    """Downloads for one bucket. Blocking; callers bring their own thread."""

    def __init__(self, client: Any, options: S3Options) -> None:
        self._client = client
        self._options = options
        self._running: set[Any] = set()
        self._is_cancelled = False

    def run(self, name: str, objects: Sequence[S3Object], into: Path) -> None:
        """Write every object to `into / relative`.

        Raises:
            OriginChanged: an object is gone or has another ETag.
            StoreUnavailable, DiskFull.
        """
        with faults.writing(name):
            if len(objects) == 1 and objects[0].size <= min(SMALL_BYTES, self._options.range_bytes):
                self._get(name, objects[0], into)
            else:
                self._transfer(name, objects, into)

    def _transfer(self, name: str, objects: Sequence[S3Object], into: Path) -> None:
        with TransferManager(self._client, self._options.transfer_config()) as transfers:
            started = [(item, self._start(transfers, item, into)) for item in objects]
            for item, future in started:
                self._finish(name, item, future)

    def cancel(self) -> None:
        """Stop running downloads and refuse further ones; each `run` raises StoreUnavailable."""
        self._is_cancelled = True
        for future in list(self._running):
            future.cancel()

    def _get(self, name: str, item: S3Object, into: Path) -> None:
        path = self._place(item, into)
        with asking(name, self._options.bucket, item.key):
            for left in reversed(range(self._options.attempts)):
                found = self._client.get_object(Bucket=self._options.bucket, Key=item.key, IfMatch=item.etag)
                try:
                    content = found["Body"].read()
                except _BROKEN_OFF:
                    if not left or self._is_cancelled:
                        raise
                else:
                    path.write_bytes(content)
                    return

    def _start(self, transfers: Any, item: S3Object, into: Path) -> Any:
        path = self._place(item, into)
        future = transfers.download(self._options.bucket, item.key, str(path), subscribers=[_KnownObject(item)])
        self._running.add(future)
        return future

    def _place(self, item: S3Object, into: Path) -> Path:
        """Where it goes, unless nothing is to begin any more."""
        if self._is_cancelled:
            raise StoreUnavailable("the download was cancelled: the server is stopping")
        path = into / item.relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _finish(self, name: str, item: S3Object, future: Any) -> None:
        try:
            with asking(name, self._options.bucket, item.key):
                future.result()
        except CancelledError as error:
            raise StoreUnavailable("the download was cancelled: the server is stopping") from error
        finally:
            self._running.discard(future)

"""Objects to files: parallel ranged downloads that fail when an object is no longer the one that was looked at."""

from collections.abc import Iterable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from boto3.s3.transfer import TransferManager

from server.domain.errors import StoreUnavailable
from server.store import faults
from server.store.s3.faults import asking
from server.store.s3.options import S3Options


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

    def run(self, name: str, objects: Iterable[S3Object], into: Path) -> None:
        """Write every object to `into / relative`.

        Raises:
            OriginChanged: an object is gone or has another ETag.
            StoreUnavailable, DiskFull.
        """
        with faults.writing(name), TransferManager(self._client, self._options.transfer_config()) as transfers:
            started = [(item, self._start(transfers, item, into)) for item in objects]
            for item, future in started:
                self._finish(name, item, future)

    def cancel(self) -> None:
        """Stop running downloads and refuse further ones; each `run` raises StoreUnavailable."""
        self._is_cancelled = True
        for future in list(self._running):
            future.cancel()

    def _start(self, transfers: Any, item: S3Object, into: Path) -> Any:
        if self._is_cancelled:
            raise StoreUnavailable("the download was cancelled: the server is stopping")
        path = into / item.relative
        path.parent.mkdir(parents=True, exist_ok=True)
        future = transfers.download(self._options.bucket, item.key, str(path), subscribers=[_KnownObject(item)])
        self._running.add(future)
        return future

    def _finish(self, name: str, item: S3Object, future: Any) -> None:
        try:
            with asking(name, self._options.bucket, item.key):
                future.result()
        except CancelledError as error:
            raise StoreUnavailable("the download was cancelled: the server is stopping") from error
        finally:
            self._running.discard(future)

"""An S3 prefix as a place where archives rest: tar objects, or "folders" of objects."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from server.domain.errors import ArchiveNotFound, InvalidArchive
from server.store import names as archive_name
from server.store.last_few import LastFew
from server.store.listing import archive_names
from server.store.origin import OriginChanged
from server.store.s3.download import Download, S3Object
from server.store.s3.faults import asking
from server.store.s3.options import S3Options
from server.store.threads import StoreThreads

MOST_FOUND: Final = 1024
"""Archives of which all objects are known, between the question for a version and the fetch."""


@dataclass(frozen=True, slots=True)
class _Found:
    """Where an archive lies at one moment. `key` ends with `/` for a folder."""

    key: str
    version: str
    objects: tuple[S3Object, ...]

    @property
    def is_folder(self) -> bool:
        return self.key.endswith("/")


class S3Prefix:
    """The archives below `s3://bucket/prefix`.

    A version is an ETag (tar object), or a hash over keys and ETags (folder). Downloads carry `If-Match`, so that an
    object which changes meanwhile is noticed and never mixed.
    """

    def __init__(self, options: S3Options, threads: StoreThreads) -> None:
        self._options = options
        self._threads = threads
        self._client = options.client()
        self._download = Download(self._client, options)
        self._found = LastFew[_Found](MOST_FOUND)
        self._keys = LastFew[str]()
        """By archive: where it is, if that is not where its name says."""

    async def version(self, name: str) -> str:
        """Ask S3 with one HEAD (and, while the archive has not been found yet, a listing).

        Raises:
            ArchiveNotFound: no object and no folder of that name.
            StoreUnavailable: refused, unreachable, out of time, or S3 is in trouble.
        """
        return (await self._threads.check(self._find, archive_name.canonical(name))).version

    def fetch_bytes(self, name: str, version: str) -> int:
        """The size of the objects, known since `version` was asked."""
        found = self._found.get(archive_name.canonical(name))
        return sum(item.size for item in found.objects) if found and found.version == version else 0

    def unpacked_bytes(self, name: str, version: str) -> int:
        """As much as a tar object has: packing makes nothing much smaller that it does not make larger again.

        Folders are linked, not unpacked.
        """
        found = self._found.get(archive_name.canonical(name))
        return 0 if found is None or found.is_folder else self.fetch_bytes(name, version)

    async def fetch(self, name: str, version: str, into: Path) -> Path:
        """Download into `into`: one tar file, or a folder.

        Raises:
            OriginChanged, ArchiveNotFound, StoreUnavailable, DiskFull.
        """
        return await self._threads.transfer(self._fetch, archive_name.canonical(name), version, into)

    async def names(self) -> list[str]:
        """Every tar object and every folder that is a Triton model repository. Raises StoreUnavailable."""
        return await self._threads.check(self._names)

    async def close(self) -> None:
        """Cancel downloads that are under way; one that waits for a silent S3 ends with its read time-out."""
        self._download.cancel()
        self._client.close()

    def _find(self, name: str) -> _Found:
        known = self._keys.get(name)
        found = (known and self._find_again(name, known)) or self._find_anywhere(name)
        if found is None:
            self._found.forget(name)
            self._keys.forget(name)
            raise ArchiveNotFound(name)
        self._found.put(name, found)
        if found.key != self._key(name):
            self._keys.put(name, found.key)
        elif known is not None:
            self._keys.forget(name)
        return found

    def _find_again(self, name: str, key: str) -> _Found | None:
        return self._folder(name, key) if key.endswith("/") else self._object(name, key)

    def _find_anywhere(self, name: str) -> _Found | None:
        exact, *suffixed = (self._key(spelling) for spelling in archive_name.spellings(name))
        found = self._object(name, exact)
        if found is None and not archive_name.is_packed(name):
            found = self._folder(name, exact + "/")
        for key in suffixed:
            found = found or self._object(name, key)
        return found

    def _object(self, name: str, key: str) -> _Found | None:
        try:
            with asking(name, self._options.bucket, key):
                head: dict[str, Any] = self._client.head_object(Bucket=self._options.bucket, Key=key)
                etag, size = str(head["ETag"]), int(head["ContentLength"])
        except ArchiveNotFound:
            return None
        item = S3Object(key, etag, size, key.rpartition("/")[2])
        return _Found(key, etag.strip('"'), (item,))

    def _folder(self, name: str, prefix: str) -> _Found | None:
        with asking(name, self._options.bucket, prefix):
            objects = tuple(item for item in self._list(prefix) if not item.key.endswith("/"))
        if not objects:
            return None
        digest = sha256()
        for item in sorted(objects, key=lambda item: item.relative):
            _require_plain(item.relative)
            digest.update(f"{item.relative}\0{item.etag}\0".encode())
        return _Found(prefix, digest.hexdigest()[:32], objects)

    def _fetch(self, name: str, version: str, into: Path) -> Path:
        found = self._found.get(name)
        if found is None or found.version != version:
            found = self._find(name)
        if found.version != version:
            raise OriginChanged(name)
        target = into / "folder" if found.is_folder else into
        self._download.run(name, found.objects, target)
        return target if found.is_folder else target / found.objects[0].relative

    def _names(self) -> list[str]:
        root = self._key("")
        with asking("", self._options.bucket, root):
            return archive_names(item.relative for item in self._list(root))

    def _list(self, prefix: str) -> Iterator[S3Object]:
        """Every object below `prefix`, page by page."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._options.bucket, Prefix=prefix)
        for page in pages:
            for item in page.get("Contents", ()):
                key = str(item["Key"])
                yield S3Object(key, str(item["ETag"]), int(item["Size"]), key.removeprefix(prefix))

    def _key(self, name: str) -> str:
        return f"{self._options.prefix}/{name}" if self._options.prefix else name


def _require_plain(relative: str) -> None:
    """A bucket may hold keys such as `a/../../x`; as files they would leave the folder they are written to."""
    try:
        is_plain = archive_name.canonical(relative) == relative
    except ArchiveNotFound:
        is_plain = False
    if not is_plain:
        raise InvalidArchive(f"the object name {relative!r} cannot be a file of an archive")

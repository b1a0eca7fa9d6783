"""An origin in memory that can be held, changed and broken at the right moment."""

import asyncio
import itertools
import shutil

from server.domain.errors import ArchiveNotFound
from server.store.origin import OriginChanged


class ScriptedOrigin:
    """Implements `server.store.origin.Origin`; `put` makes a new version each time."""

    def __init__(self):
        self.paths = {}
        self.versions = {}
        self.announced = {}
        self.fault = None
        self.on_fetch = lambda: None
        self.fetches = []
        self.version_calls = 0
        self._serial = itertools.count(1)
        self._open = asyncio.Event()
        self._open.set()
        self._fetching = asyncio.Event()
        self._answering = asyncio.Event()
        self._answering.set()
        self._asked = asyncio.Condition()

    def put(self, name, path, content=None):
        if content is not None:
            path.write_bytes(content)
        self.paths[name] = path
        self.versions[name] = f"v{next(self._serial)}"

    def delete(self, name):
        del self.paths[name], self.versions[name]

    def adopt(self, other):
        """Hold what another origin holds."""
        self.paths, self.versions = other.paths, other.versions

    def hold(self):
        self._open.clear()

    def hold_versions(self):
        self._answering.clear()

    def let_go(self):
        self._open.set()

    async def until_fetching(self):
        await self._fetching.wait()

    async def until_asked(self, count):
        async with self._asked:
            await self._asked.wait_for(lambda: self.version_calls >= count)

    # The protocol `Origin`

    async def version(self, name):
        async with self._asked:
            self.version_calls += 1
            self._asked.notify_all()
        await self._answering.wait()
        if self.fault:
            raise self.fault
        if name not in self.versions:
            raise ArchiveNotFound(name)
        return self.versions[name]

    def fetch_bytes(self, name, version):
        return self.paths[name].stat().st_size

    def unpacked_bytes(self, name, version):
        return self.announced.get(name, 0)

    async def fetch(self, name, version, into):
        self.fetches.append(name)
        self._fetching.set()
        await self._open.wait()
        copied = into / "archive"
        shutil.copyfile(self.paths[name], copied)
        self.on_fetch()
        if self.versions[name] != version:
            raise OriginChanged(name)
        return copied

    async def names(self):
        return sorted(self.paths)

    async def close(self):
        """Nothing is open."""

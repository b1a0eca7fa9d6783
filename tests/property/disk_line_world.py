"""A disk cache, fetches and somebody who retains what they bring, all of them made up, around a real line.

Time is the loop's. Nothing but sizes: a flight fetches a tar, unpacks it, perhaps waits for its base, and is adopted.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from server.domain.disk_need import DiskOutlook
from server.domain.errors import DiskFull, NotReady
from server.store.disk.protected_files import ProtectedFiles
from server.store.disk.workspace import Workspace


@dataclass
class Archive:
    name: str
    tar: int
    unpacked: int
    base: "Archive | None" = None
    starts_at: float = 0.0
    is_announced: bool = False
    is_pinned: bool = False
    leaves_at: float | None = None
    """When its caller gives up."""


class Cache:
    """What the line asks of `DiskCache`, with one file for each archive."""

    def __init__(self, quota):
        self.quota = quota
        self.steps: dict[str, int] = {}
        self.retained: set[str] = set()
        self.handed_out: dict[str, float] = {}
        self.workspaces: list[Workspace] = []

    @property
    def used(self):
        return sum(self.steps.values())

    @property
    def reserved(self):
        return sum(each.reserved_bytes for each in self.workspaces)

    def busy(self):
        now = asyncio.get_running_loop().time()
        return {name for name, until in self.handed_out.items() if until > now and name in self.steps}

    def reserve(self, workspace, needed, arriving=0):
        others = self.reserved - workspace.reserved_bytes
        borrowed = set().union(*(each.borrowed for each in self.workspaces))
        free_to_go = set(self.steps) - self.retained - self.busy() - borrowed
        kept = sum(size for name, size in self.steps.items() if name not in free_to_go)
        missing = kept + others + needed + arriving - self.quota
        if needed > workspace.reserved_bytes - arriving and missing > 0:
            raise DiskFull("no room", missing, is_hopeless=needed + arriving > self.quota)
        for name in sorted(free_to_go):
            if self.used + others + needed + arriving > self.quota:
                del self.steps[name]
        workspace.reserved_bytes = needed
        assert self.used + self.reserved + arriving <= self.quota, "the quota is overdrawn"

    def adopt(self, workspace, name, size):
        self.reserve(workspace, 0, size)
        self.steps[name] = size
        self.handed_out[name] = asyncio.get_running_loop().time() + 0.3
        self.retained.add(name)

    def protected_files(self, lasting):
        lent = set().union(*(each.borrowed for each in lasting))
        busy = (self.busy() | set().union(*(each.borrowed for each in self.workspaces))) - lent
        files = {name: {(0, hash(name)): self.steps[name]} for name in (busy | self.retained) - lent & set(self.steps)}
        passing = sum(self.steps[name] for name in busy - self.retained)
        return ProtectedFiles(files, frozenset(busy), passing)


class Threads:
    """Work that ends a turn of the loop later."""

    def __init__(self, transfers):
        self.transfers = transfers

    async def transfer(self, work, *args):
        await asyncio.sleep(0.001)
        return work(*args)

    check = transfer


@dataclass
class Tenant:
    """Loads what was adopted for a second, then leaves it idle, and lets go of as much as is asked for."""

    cache: Cache
    pinned: set[str]
    idle_at: dict[str, float] = field(default_factory=dict)
    let_go: list[str] = field(default_factory=list)

    def is_wanted(self, names):
        return bool(names)

    def make_room(self, need):
        now = asyncio.get_running_loop().time()
        sizes = {name: sum(files.values()) for name, files in need.files.items() if name not in need.busy}
        idle = [name for name in sizes if name not in self.pinned and self.idle_at.get(name, now) <= now]
        if sum(sizes[name] for name in idle) >= need.missing_bytes:
            freed = 0
            while freed < need.missing_bytes:
                name = idle.pop()
                freed += sizes[name]
                self.let_go.append(name)
                self.cache.retained.discard(name)
            return DiskOutlook.COMING
        free = sum(sum(files.values()) for name, files in need.files.items() if name not in self.pinned)
        return DiskOutlook.MAYBE if free >= need.missing_bytes else DiskOutlook.NEVER


class Errand:
    def __init__(self, world, archive, serial):
        self.world, self.archive, self.name, self.serial, self.known = world, archive, archive.name, serial, 0
        self.key = archive.name

    def wanted_by(self):
        return self.world.wanted_by(self.archive)

    @property
    def is_base(self):
        self.world.looks += 1
        return self.archive.name in self.world.awaited.values()


class World:
    """Runs every archive's flight to its end; `outcomes` says how each ended."""

    def __init__(self, module, quota, transfers, archives):
        self.module = module
        self.cache = Cache(quota)
        self.line = module.DiskLine(self.cache, Threads(transfers))
        self.tenant = Tenant(self.cache, {each.name for each in archives if each.is_pinned})
        self.line.tenant = self.tenant
        self.archives = archives
        self.awaited: dict[str, str] = {}
        self.flights: dict[str, asyncio.Task] = {}
        self.outcomes: dict[str, str] = {}
        self.began: list[str] = []
        self.most_at_work = 0
        self.looks = 0
        """How often the line asked whether an archive is a base."""

    def wanted_by(self, archive):
        now = asyncio.get_running_loop().time()
        gone = archive.leaves_at is not None and archive.leaves_at <= now
        is_asked = archive in self.archives and not gone and archive.name not in self.outcomes
        names = [archive.name] if is_asked else []
        for head in self.archives:
            if self.awaited.get(head.name) == archive.name:
                names += self.wanted_by(head)
        return names

    async def run(self):
        async with asyncio.timeout(600 + 60 * len(self.archives)):
            await asyncio.gather(*(self.call(each) for each in self.archives))
        assert self.cache.reserved == 0, "a reservation outlived its fetch"
        assert not self.cache.workspaces

    async def call(self, archive):
        await asyncio.sleep(archive.starts_at)
        try:
            await self.flight(archive)
        except DiskFull:
            self.outcomes[archive.name] = "full"
        except NotReady:
            self.outcomes[archive.name] = "left"
        else:
            self.outcomes[archive.name] = "there"

    def flight(self, archive):
        if archive.name not in self.flights:
            errand = Errand(self, archive, self.line.next_serial())
            self.flights[archive.name] = asyncio.ensure_future(self.fly(archive, errand))
        return asyncio.shield(self.flights[archive.name])

    async def fly(self, archive, errand):
        for _ in range(50):
            workspace = Workspace(Path(f"{archive.name}"))
            self.cache.workspaces.append(workspace)
            with suppress(self.module.StartOver), self.line.visit(errand, workspace) as visit:
                try:
                    return await self.bring(archive, errand, visit)
                finally:
                    self.cache.workspaces.remove(workspace)
        raise AssertionError("it starts over for ever")

    async def bring(self, archive, errand, visit):
        reserve = partial(self.cache.reserve, visit.workspace)
        both = archive.tar + archive.unpacked
        first = both if archive.is_announced or errand.known else archive.tar
        await self.line.take(visit, partial(reserve, first))
        self.began.append(archive.name)
        self.note_work()
        await asyncio.sleep(archive.tar / 100)
        errand.known = both
        await self.line.take(visit, partial(reserve, both))
        await asyncio.sleep(archive.unpacked / 100)
        reserve(archive.unpacked)
        if archive.base is not None:
            await self.borrow(archive, archive.base, visit)
        await self.line.take(visit, partial(self.cache.adopt, visit.workspace, archive.name, archive.unpacked))
        self.tenant.idle_at[archive.name] = asyncio.get_running_loop().time() + 1.0

    async def borrow(self, archive, base, visit):
        with self.line.awaiting_base(visit):
            while base.name not in self.cache.steps:
                self.awaited[archive.name] = base.name
                self.line.base_is_awaited(base.name)
                done = self.flights.get(base.name)
                if done is not None and done.done():
                    del self.flights[base.name]
                try:
                    await self.flight(base)
                finally:
                    del self.awaited[archive.name]
            visit.workspace.borrowed.add(base.name)

    def note_work(self):
        plain = [
            each
            for each in self.cache.workspaces
            if each.reserved_bytes and each.path.name not in self.awaited.values()
        ]
        self.most_at_work = max(self.most_at_work, len(plain))

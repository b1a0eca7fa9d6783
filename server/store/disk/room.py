"""Whether there is room in the disk cache, and what has to leave for it. Counts and decides; moves nothing.

Whoever calls `make_way` holds the cache's lock.
"""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from server.domain.errors import DiskFull
from server.domain.model import StepDigest
from server.store.disk.contents import Contents
from server.store.disk.ledger import StepFiles
from server.store.disk.plan import Plan, Record, plan
from server.store.disk.protected_files import ProtectedFiles, protected_files
from server.store.disk.protection import Protection
from server.store.disk.workspace import Workspace


class DiskRoom:
    """A quota in bytes (`None`: as much as the disk has), what fetches have reserved of it, and what must stay."""

    def __init__(
        self, quota_bytes: int | None, contents: Contents, protection: Protection, free_bytes: Callable[[], int]
    ) -> None:
        self.quota_bytes = quota_bytes
        self._contents = contents
        self._protection = protection
        self._free_bytes = free_bytes
        self._workspaces: dict[int, Workspace] = {}

    def enter(self, workspace: Workspace) -> None:
        """From now on what it reserves and borrows counts."""
        self._workspaces[id(workspace)] = workspace

    def leave(self, workspace: Workspace) -> None:
        """It has ended."""
        del self._workspaces[id(workspace)]

    @property
    def reserved_bytes(self) -> int:
        """What all fetches together have reserved."""
        return sum(workspace.reserved_bytes for workspace in list(self._workspaces.values()))

    def could_hold(self, needed_bytes: int) -> bool:
        """Whether so many bytes would fit an empty cache."""
        if self.quota_bytes is not None:
            return needed_bytes <= self.quota_bytes
        return needed_bytes <= self._free_bytes() + self._contents.ledger.used_bytes + self.reserved_bytes

    def protected_files(self, lasting: Collection[Workspace]) -> ProtectedFiles:
        """What could leave with the steps that are protected now, but for what `lasting` workspaces borrow."""
        borrowed: list[set[StepDigest]] = [workspace.borrowed for workspace in lasting]
        busy = self._protection.handed_out().union(*self._borrowed())
        return protected_files(self._contents.ledger, self._protection.retained(), busy, set().union(*borrowed))

    def allowed(self, extra_bytes: int) -> int:
        """What steps may take when all fetches, and `extra_bytes` more, are reserved."""
        if self.quota_bytes is None:
            return sys.maxsize
        return self.quota_bytes - extra_bytes - self.reserved_bytes

    def allowed_on_disk(self, growth_bytes: int) -> int:
        """The same, and so that the disk itself has room for the growth."""
        missing = growth_bytes - self._free_bytes()
        allowed = self.allowed(growth_bytes)
        return min(allowed, self._contents.ledger.used_bytes - missing) if missing > 0 else allowed

    def make_way(
        self,
        name: str,
        allowed_bytes: int,
        needed_bytes: int,
        arriving: Mapping[StepDigest, StepFiles] | None = None,
        leaving: Record | None = None,
        drop: tuple[str, ...] = (),
    ) -> Plan:
        """Choose what is to be displaced, and `drop`; nobody gets that from now on. Raises DiskFull."""
        contents = self._contents
        while True:
            protected = self._protection.steps().union(*self._borrowed(), arriving or ())
            decision = plan(contents.ledger, contents.by_last_use(), protected, allowed_bytes, arriving, leaving)
            self._require(decision, allowed_bytes, name, needed_bytes)
            decision = replace(decision, drop=decision.drop + drop)
            if self._protection.give_up(decision.delete, partial(contents.give_up, decision)):
                return decision

    def _borrowed(self) -> list[set[StepDigest]]:
        return [workspace.borrowed for workspace in list(self._workspaces.values()) if workspace.borrowed]

    def _require(self, decision: Plan, allowed_bytes: int, name: str, needed_bytes: int) -> None:
        if decision.remaining_bytes > allowed_bytes:
            quota = "no quota" if self.quota_bytes is None else f"a quota of {self.quota_bytes} bytes"
            raise DiskFull(
                f"archive {name!r} needs {needed_bytes} bytes of the disk cache, which has {quota}; "
                f"{decision.remaining_bytes} bytes are taken by loaded archives and by this one",
                decision.remaining_bytes - allowed_bytes,
                is_hopeless=not self.could_hold(needed_bytes),
            )

"""Unpacked archives on disk, below a byte quota, with an order of last use.

What is being fetched and unpacked lies in a `Workspace`, with its bytes reserved in the quota; finished steps are
adopted from there. One lock covers "it is there already" and "this archive uses it", so that nothing is deleted in
between; large deletions happen after it is released. What goes is decided in `disk_plan.py`.
Everything but `get`, `touch`, `claim`, `retain` and `new_workspace` blocks and belongs into a thread.
"""

import itertools
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from server.archive.weights import is_sealed
from server.domain.clock import Clock
from server.domain.cold_start import NOT_STAGED
from server.domain.errors import DiskFull
from server.domain.model import FileSha, StagedArchive, StepDigest
from server.store import faults
from server.store.disk import files as disk_files
from server.store.disk.files import Measured
from server.store.disk.layout import DiskLayout
from server.store.disk.ledger import Ledger, StepFiles
from server.store.disk.lock import FolderLock
from server.store.disk.plan import Plan, Record, plan
from server.store.disk.protected_files import ProtectedFiles, protected_files
from server.store.disk.protection import Protection
from server.store.disk.records import StagedRecord
from server.store.disk.weight_index import WeightIndex
from server.store.disk.workspace import Workspace

_log = logging.getLogger(__name__)


class DiskCache:
    """Staged archives and their steps. `open` it first. Thread-safe."""

    def __init__(
        self,
        root: Path,
        quota_bytes: int | None,
        clock: Clock,
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
        *,
        sharing: bool = True,
    ) -> None:
        """`sharing` says how the archives' steps were digested; what was staged otherwise is thrown away by `open`."""
        self._layout = DiskLayout(root, sharing=sharing)
        self._quota_bytes = quota_bytes
        self._clock = clock
        self._free_bytes = free_bytes
        self._owner = FolderLock(root / "lock")
        self._lock = threading.Lock()
        self._archives: dict[str, StagedArchive] = {}
        self._stamps: dict[StepDigest, str] = {}
        self._ledger = Ledger()
        self._weights = WeightIndex()
        self._last_use: dict[str, int] = {}
        self._ticks = itertools.count()
        self._protection = Protection(clock)
        self._workspaces: list[Workspace] = []
        self._tell_discarded: Callable[[StepDigest], None] = lambda _: None

    def open(self) -> None:
        """Clean up what an earlier server left unfinished, and remember what it finished.

        Raises:
            StoreUnavailable: another server uses the folder, or it cannot be written.
            DiskFull.
        """
        with faults.writing("*"):
            self._layout.root.mkdir(parents=True, exist_ok=True)
            self._owner.acquire()
            found = self._layout.recover()
            with self._lock:
                for digest, measured in found.steps.items():
                    self._note_placed(digest, measured)
                for record in found.records:
                    self._remember(record.key, record.archive)
                trash = self._carry_out(plan(self._ledger, self._by_last_use(), frozenset(), self._allowed(0)))
            _empty(trash)

    def close(self) -> None:
        """Write down the order of last use for the next start, and let go of the folder. Idempotent."""
        if not self._owner.is_held:
            return
        wall_ns = int(self._clock.wall() * 1e9)
        with faults.writing("*"), self._lock:
            for index, key in enumerate(self._keys_by_last_use()):
                self._layout.mark_use(key, wall_ns + index * 1_000_000)
        self._owner.release()

    def get(self, key: str) -> StagedArchive | None:
        """The staged archive; the same object until its content changes or it is evicted."""
        return self._archives.get(key)

    def touch(self, key: str) -> None:
        """Note that the archive was asked for."""
        if key in self._archives:
            self._last_use[key] = next(self._ticks)

    def claim(self, key: str) -> StagedArchive | None:
        """Like `get`, for who may be about to load it: the steps stay for a while. Never waits for the disk."""
        archive = self._archives.get(key)
        if archive is None:
            return None
        digests = [step.digest for step in archive.steps]
        return archive if self._protection.claim(lambda: digests if self._has(digests) else None) else None

    def retain(self, digests: Collection[StepDigest]) -> None:
        """Name the steps whose files must stay (all of them: an earlier call no longer counts)."""
        self._protection.retain(digests)

    def hand_out(self, key: str) -> StagedArchive | None:
        """Like `get`, but only if its steps are really there; they stay for a while, so that they can be loaded."""
        with self._lock:
            archive = self._archives.get(key)
            if archive is None or not all(step.directory.is_dir() for step in archive.steps):
                return None
            self._protection.hand_out(step.digest for step in archive.steps)
        self.touch(key)
        return archive

    def placed(self, workspace: Workspace, digest: StepDigest) -> Path | None:
        """Where a sound step lies, which stays as long as the workspace; `None` where there is none.

        Staging uses it where it lies: one more link, soon removed, would change the times of files that it shares with
        the store, and all of them would be read again to be recognised.
        """
        with self._lock:
            if not self._is_sound(digest):
                return None
            workspace.borrowed.add(digest)
        return self._layout.steps / digest

    def equal_file(self, digest: FileSha, size_bytes: int) -> Path | None:
        """Where a weight file of this content lies in a sound step, to be linked soon; `None` where there is none."""
        with self._lock:
            for step, path in self._weights.places(digest):
                found = self._layout.steps / step / path
                if is_sealed(found, size_bytes) and self._is_sound(step):
                    return found
        return None

    def weight_digest(self, path: Path) -> FileSha | None:
        """The content of a weight file in a step that was just `placed`; `None` for any other file. Nothing is read."""
        if not path.is_relative_to(self._layout.steps):
            return None
        step, *inner = path.relative_to(self._layout.steps).parts
        return self._weights.digest_of(StepDigest(step), "/".join(inner))

    def on_discarded(self, tell: Callable[[StepDigest], None]) -> None:
        """Call `tell` for every step whose files leave the cache; it must be quick, and may be called in any thread."""
        self._tell_discarded = tell

    def new_workspace(self) -> Workspace:
        """A private folder on the cache's file system; `prepare` makes it, `discard` ends it."""
        workspace = Workspace(self._layout.new_tmp("fetch"))
        self._workspaces.append(workspace)
        return workspace

    def prepare(self, name: str, workspace: Workspace, needed_bytes: int) -> None:
        """Make room for a fetch of so many bytes, and the empty folders of the workspace. Raises as `reserve`."""
        self.reserve(name, workspace, needed_bytes)
        with faults.writing(name):
            workspace.fetched.mkdir(parents=True)
            workspace.steps.mkdir()

    def discard(self, workspace: Workspace) -> None:
        """Remove the workspace with whatever is in it, and its reservation."""
        self._workspaces.remove(workspace)
        if workspace.path.exists():
            _empty([workspace.path])

    def reserve(self, name: str, workspace: Workspace, needed_bytes: int) -> None:
        """Make room for all that `workspace` will hold, instead of what it had reserved.

        Raises:
            DiskFull: it does not fit, even without everything that may go.
        """
        with faults.writing(name):
            with self._lock:
                growth = needed_bytes - workspace.reserved_bytes
                if growth <= 0:
                    workspace.reserved_bytes = needed_bytes
                    return
                missing = growth - self._free_bytes(self._layout.root)
                allowed = self._allowed(growth)
                if missing > 0:
                    allowed = min(allowed, self._ledger.used_bytes - missing)
                trash = self._make_way(name, allowed, needed_bytes)
                workspace.reserved_bytes = needed_bytes
            _empty(trash)

    def adopt(self, key: str, staged: StagedArchive, workspace: Workspace) -> StagedArchive:
        """Take over the steps of `staged` from the workspace, and remember the archive under `key`.

        A step that is there already stays as it is, unless it no longer is what it was when it was placed. The content
        that `key` had before loses its record; its steps go as soon as nobody holds them. Returns what `get` will.

        Raises:
            DiskFull, StoreUnavailable: the archive is not remembered, and what was remembered before still is.
        """
        with faults.writing(staged.name):
            found = {step.digest: disk_files.measure(step.directory) for step in staged.steps}
            with self._lock:
                arriving = {digest: measured for digest, measured in found.items() if not self._is_sound(digest)}
                trash = [folder for digest in arriving for folder in self._discard(digest)]
                trash += self._displace(key, staged, arriving, workspace)
                archive = self._place(staged, arriving)
                self._layout.write(StagedRecord(key, archive, {digest: self._stamps[digest] for digest in found}))
                self._remember(key, archive)
                self._protection.hand_out(found)
            _empty(trash)
        return archive

    def forget(self, key: str) -> None:
        """Drop an archive, and the steps that nobody else holds. Unknown keys are ignored."""
        with faults.writing(key):
            with self._lock:
                trash = self._make_way(key, sys.maxsize, 0, leaving=self._record(key), drop=(key,))
            _empty(trash)

    def could_hold(self, needed_bytes: int) -> bool:
        """Whether so many bytes would fit an empty cache."""
        if self._quota_bytes is not None:
            return needed_bytes <= self._quota_bytes
        reserved = sum(workspace.reserved_bytes for workspace in list(self._workspaces))
        return needed_bytes <= self._free_bytes(self._layout.root) + self._ledger.used_bytes + reserved

    def protected_files(self, lasting: Collection[Workspace]) -> ProtectedFiles:
        """What could leave with the steps that are protected now, but for what `lasting` workspaces borrow."""
        with self._lock:
            borrowed: list[set[StepDigest]] = [workspace.borrowed for workspace in lasting]
            busy = self._protection.handed_out().union(*self._borrowed())
            return protected_files(self._ledger, self._protection.retained(), busy, set().union(*borrowed))

    def usage(self) -> Mapping[str, int | None]:
        """Figures for people: bytes in steps, bytes reserved for fetches, quota, archives, steps."""
        with self._lock:
            return {
                "used_bytes": self._ledger.used_bytes,
                "reserved_bytes": sum(workspace.reserved_bytes for workspace in list(self._workspaces)),
                "quota_bytes": self._quota_bytes,
                "archives": len(self._archives),
                "steps": len(self._ledger.steps),
            }

    def _protected(self) -> frozenset[StepDigest]:
        """What may not be deleted now."""
        return self._protection.steps().union(*self._borrowed())

    def _borrowed(self) -> list[set[StepDigest]]:
        return [workspace.borrowed for workspace in list(self._workspaces)]

    def _make_way(
        self,
        name: str,
        allowed_bytes: int,
        needed_bytes: int,
        arriving: Mapping[StepDigest, StepFiles] | None = None,
        leaving: Record | None = None,
        drop: tuple[str, ...] = (),
    ) -> list[Path]:
        """Evict what is to be displaced, and `drop`; returns the folders to be deleted. Raises DiskFull."""
        while True:
            protected = self._protected().union(arriving or ())
            decision = plan(self._ledger, self._by_last_use(), protected, allowed_bytes, arriving, leaving)
            self._require(decision, allowed_bytes, name, needed_bytes)
            decision = replace(decision, drop=decision.drop + drop)
            if self._protection.give_up(decision.delete, partial(self._forget_all, decision)):
                return self._carry_out(decision)

    def _forget_all(self, decision: Plan) -> None:
        """From now on nobody gets it."""
        for key in decision.drop:
            self._forget(key)
        for digest in decision.delete:
            self._stamps.pop(digest, None)

    def _displace(
        self, key: str, staged: StagedArchive, arriving: Mapping[StepDigest, Measured], workspace: Workspace
    ) -> list[Path]:
        """Evict what the arriving steps displace. They are on the disk already: only the quota matters."""
        files = {digest: measured.files for digest, measured in arriving.items()}
        needed = sum(sum(each.values()) for each in files.values())
        workspace.borrowed.update(step.digest for step in staged.steps)
        allowed = self._allowed(-workspace.reserved_bytes)
        trash = self._make_way(staged.name, allowed, needed, files, self._record(key))
        workspace.reserved_bytes = 0
        return trash

    def _place(self, staged: StagedArchive, arriving: Mapping[StepDigest, Measured]) -> StagedArchive:
        steps = []
        for step in staged.steps:
            if step.digest in arriving and step.digest not in self._stamps:
                self._layout.place(step.directory, step.digest)
                self._note_placed(step.digest, arriving[step.digest])
            steps.append(replace(step, directory=self._layout.steps / step.digest))
        return replace(staged, steps=tuple(steps), staged_from="disk", staging=NOT_STAGED)

    def _note_placed(self, digest: StepDigest, measured: Measured) -> None:
        self._ledger.place(digest, measured.files)
        self._stamps[digest] = measured.stamp

    def _remember(self, key: str, archive: StagedArchive) -> None:
        self._forget(key)
        self._archives[key] = archive
        self._ledger.hold({step.digest for step in archive.steps})
        for step in archive.steps:
            self._weights.add(step.digest, step.weights)
        self.touch(key)

    def _forget(self, key: str) -> None:
        archive = self._archives.pop(key, None)
        if archive is not None:
            self._ledger.release({step.digest for step in archive.steps})
        self._last_use.pop(key, None)

    def _carry_out(self, decision: Plan) -> list[Path]:
        """Forget at once what goes; the returned folders are to be deleted after the lock is released."""
        for key in decision.drop:
            self._layout.erase(key)
            self._forget(key)
        return [trash for digest in decision.delete for trash in self._discard(digest)]

    def _discard(self, digest: StepDigest) -> list[Path]:
        trash = self._layout.discard(digest)
        self._ledger.remove(digest)
        self._weights.remove(digest)
        self._stamps.pop(digest, None)
        self._tell_discarded(digest)
        return [trash] if trash else []

    def _record(self, key: str) -> Record | None:
        archive = self._archives.get(key)
        return Record(key, {step.digest for step in archive.steps}) if archive else None

    def _by_last_use(self) -> Iterator[Record]:
        """The least recently used first; sorted only when somebody looks."""
        for key in self._keys_by_last_use():
            yield Record(key, {step.digest for step in self._archives[key].steps})

    def _keys_by_last_use(self) -> list[str]:
        return sorted(self._archives, key=lambda key: self._last_use.get(key, 0))

    def _require(self, decision: Plan, allowed_bytes: int, name: str, needed_bytes: int) -> None:
        if decision.remaining_bytes > allowed_bytes:
            quota = "no quota" if self._quota_bytes is None else f"a quota of {self._quota_bytes} bytes"
            raise DiskFull(
                f"archive {name!r} needs {needed_bytes} bytes of the disk cache, which has {quota}; "
                f"{decision.remaining_bytes} bytes are taken by loaded archives and by this one",
                decision.remaining_bytes - allowed_bytes,
                is_hopeless=not self.could_hold(needed_bytes),
            )

    def _allowed(self, extra_bytes: int) -> int:
        """What steps may take when all fetches, and `extra_bytes` more, are reserved."""
        if self._quota_bytes is None:
            return sys.maxsize
        return self._quota_bytes - extra_bytes - sum(workspace.reserved_bytes for workspace in list(self._workspaces))

    def _has(self, digests: Collection[StepDigest]) -> bool:
        return all(digest in self._stamps for digest in digests)

    def _is_sound(self, digest: StepDigest) -> bool:
        """Whether the step is there, and is what it was when it was placed."""
        known = self._stamps.get(digest)
        return known is not None and disk_files.measure(self._layout.steps / digest).stamp == known


def _empty(trash: Collection[Path]) -> None:
    """Delete what was taken away; what resists stays in `tmp/` until the next start, and harms nobody."""
    for folder in trash:
        try:
            disk_files.remove(folder)
        except OSError as error:
            _log.warning("%s could not be deleted: %s", folder, error)

"""Unpacked archives on disk, below a byte quota, with an order of last use.

What is being fetched and unpacked lies in a `Workspace`, with its bytes reserved in the quota; finished steps are
adopted from there. One lock covers "it is there already" and "this archive uses it", so that nothing is deleted in
between; large deletions happen after it is released. What goes is decided in `room.py` and `plan.py`; what is there is
known to `contents.py`.
Everything but `get`, `touch`, `claim`, `retain` and `new_workspace` blocks and belongs into a thread.
"""

import logging
import shutil
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from server.domain.clock import Clock
from server.domain.model import FileSha, StagedArchive, StepDigest
from server.store import faults
from server.store.disk import files as disk_files
from server.store.disk.contents import MOST_DESCRIBED, Contents
from server.store.disk.files import Measured
from server.store.disk.layout import DiskLayout
from server.store.disk.lock import FolderLock
from server.store.disk.plan import Plan, plan
from server.store.disk.protected_files import ProtectedFiles
from server.store.disk.protection import Protection
from server.store.disk.room import DiskRoom
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
        most_described: int = MOST_DESCRIBED,
    ) -> None:
        """`sharing` says how the archives' steps were digested; what was staged otherwise is thrown away by `open`.

        `most_described`: archives of which all is known at once, beside those with retained steps; others' records are
        read again when they are asked for.
        """
        self._layout = DiskLayout(root, sharing=sharing)
        self._clock = clock
        self._owner = FolderLock(root / "lock")
        self._lock = threading.Lock()
        self._protection = Protection(clock)
        self._contents = Contents(self._layout, most_described, self._protection.retained)
        self._room = DiskRoom(quota_bytes, self._contents, self._protection, lambda: free_bytes(root))

    def open(self) -> None:
        """Clean up what an earlier server left unfinished, and remember what it finished.

        Raises:
            StoreUnavailable: another server uses the folder, or it cannot be written.
            DiskFull.
        """
        with faults.writing("*"):
            self._layout.root.mkdir(parents=True, exist_ok=True)
            self._owner.acquire()
            with self._lock:
                self._contents.recover()
                kept = plan(self._contents.ledger, self._contents.by_last_use(), frozenset(), self._room.allowed(0))
                trash = self._contents.carry_out(kept)
            _empty(trash)

    def close(self) -> None:
        """Write down the order of last use for the next start, and let go of the folder. Idempotent."""
        if not self._owner.is_held:
            return
        wall_ns = int(self._clock.wall() * 1e9)
        with faults.writing("*"), self._lock:
            for index, key in enumerate(self._contents.keys_by_last_use()):
                self._layout.mark_use(key, wall_ns + index * 1_000_000)
        self._owner.release()

    def get(self, key: str) -> StagedArchive | None:
        """The staged archive if it was used lately; the same object until its content changes or it is not any more."""
        return self._contents.archives.get(key)

    def touch(self, key: str) -> None:
        """Note that the archive was asked for."""
        self._contents.touch(key)

    def claim(self, key: str) -> StagedArchive | None:
        """Like `get`, for who may be about to load it: the steps stay for a while. Never waits for the disk."""
        archive = self.get(key)
        if archive is None:
            return None
        digests = [step.digest for step in archive.steps]
        return archive if self._protection.claim(lambda: digests if self._contents.has(digests) else None) else None

    def retain(self, digests: Collection[StepDigest]) -> None:
        """Name the steps whose files must stay (all of them: an earlier call no longer counts)."""
        self._protection.retain(digests)

    def hand_out(self, key: str) -> StagedArchive | None:
        """The staged archive, if its steps are really there; they stay for a while, so that they can be loaded."""
        with self._lock:
            archive = self._contents.recall(key)
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
            if not self._contents.is_sound(digest):
                return None
            workspace.borrowed.add(digest)
        return self._layout.steps / digest

    def equal_file(self, digest: FileSha, size_bytes: int) -> Path | None:
        """Where a weight file of this content lies in a sound step, to be linked soon; `None` where there is none."""
        with self._lock:
            return self._contents.equal_file(digest, size_bytes)

    def lend_file(self, workspace: Workspace, digest: FileSha, size_bytes: int) -> Path | None:
        """The same, and its step stays as long as the workspace."""
        with self._lock:
            found = self._contents.equal_file(digest, size_bytes)
            if found is not None:
                workspace.borrowed.add(StepDigest(found.relative_to(self._layout.steps).parts[0]))
            return found

    def weight_digest(self, path: Path) -> FileSha | None:
        """The content of a weight file in a step that was just `placed`; `None` for any other file. Nothing is read."""
        if not path.is_relative_to(self._layout.steps):
            return None
        step, *inner = path.relative_to(self._layout.steps).parts
        return self._contents.weights.digest_of(StepDigest(step), "/".join(inner))

    def on_discarded(self, tell: Callable[[StepDigest], None]) -> None:
        """Call `tell` for every step whose files leave the cache; it must be quick, and may be called in any thread."""
        self._contents.tell_discarded = tell

    def new_workspace(self) -> Workspace:
        """A private folder on the cache's file system; `prepare` makes it, `discard` ends it."""
        workspace = Workspace(self._layout.new_tmp("fetch"))
        self._room.enter(workspace)
        return workspace

    def prepare(self, name: str, workspace: Workspace, needed_bytes: int) -> None:
        """Make room for a fetch of so many bytes, and the empty folders of the workspace. Raises as `reserve`."""
        self.reserve(name, workspace, needed_bytes)
        with faults.writing(name):
            workspace.fetched.mkdir(parents=True)
            workspace.steps.mkdir()

    def discard(self, workspace: Workspace) -> None:
        """Remove the workspace with whatever is in it, and its reservation."""
        self._room.leave(workspace)
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
                trash: list[Path] = []
                if growth > 0:
                    decision = self._room.make_way(name, self._room.allowed_on_disk(growth), needed_bytes)
                    trash = self._contents.carry_out(decision)
                workspace.reserved_bytes = needed_bytes
            _empty(trash)

    def adopt(self, key: str, staged: StagedArchive, workspace: Workspace) -> StagedArchive:
        """Take over the steps of `staged` from the workspace, and remember the archive under `key`.

        A step that is there already stays as it is, unless it no longer is what it was when it was placed. The content
        that `key` had before loses its record; its steps go as soon as nobody holds them. Returns what `get` will.

        Raises:
            DiskFull, StoreUnavailable: the archive is not remembered, and what was remembered before still is.
        """
        contents = self._contents
        with faults.writing(staged.name):
            found = {step.digest: disk_files.measure(step.directory) for step in staged.steps}
            with self._lock:
                arriving = {digest: measured for digest, measured in found.items() if not contents.is_sound(digest)}
                trash = [folder for digest in arriving for folder in contents.discard(digest)]
                trash += contents.carry_out(self._displaced(key, staged, arriving, workspace))
                workspace.reserved_bytes = 0
                archive = contents.place(staged, arriving)
                contents.write_down(key, archive)
                archive = contents.remember(key, archive)
                self._protection.hand_out(found)
            _empty(trash)
        return archive

    def forget(self, key: str) -> None:
        """Drop an archive, and the steps that nobody else holds. Unknown keys are ignored."""
        with faults.writing(key):
            with self._lock:
                leaving = self._contents.record(key)
                decision = self._room.make_way(key, sys.maxsize, 0, leaving=leaving, drop=(key,))
                trash = self._contents.carry_out(decision)
            _empty(trash)

    def could_hold(self, needed_bytes: int) -> bool:
        """Whether so many bytes would fit an empty cache."""
        return self._room.could_hold(needed_bytes)

    def protected_files(self, lasting: Collection[Workspace]) -> ProtectedFiles:
        """What could leave with the steps that are protected now, but for what `lasting` workspaces borrow."""
        with self._lock:
            return self._room.protected_files(lasting)

    def usage(self) -> Mapping[str, int | None]:
        """Figures for people: bytes in steps, bytes reserved for fetches, quota, archives, steps."""
        with self._lock:
            return {
                "used_bytes": self._contents.ledger.used_bytes,
                "reserved_bytes": self._room.reserved_bytes,
                "quota_bytes": self._room.quota_bytes,
                "archives": len(self._contents.held),
                "steps": len(self._contents.ledger.steps),
            }

    def _displaced(
        self, key: str, staged: StagedArchive, arriving: Mapping[StepDigest, Measured], workspace: Workspace
    ) -> Plan:
        """What the arriving steps displace. They are on the disk already: only the quota matters."""
        files = {digest: measured.files for digest, measured in arriving.items()}
        needed = sum(sum(each.values()) for each in files.values())
        workspace.borrowed.update(step.digest for step in staged.steps)
        allowed = self._room.allowed(-workspace.reserved_bytes)
        return self._room.make_way(staged.name, allowed, needed, files, self._contents.record(key))


def _empty(trash: Collection[Path]) -> None:
    """Delete what was taken away; what resists stays in `tmp/` until the next start, and harms nobody."""
    for folder in trash:
        try:
            disk_files.remove(folder)
        except OSError as error:
            _log.warning("%s could not be deleted: %s", folder, error)

"""The host tier: files of steps that left the devices stay in host memory, so that a reload need not read the disk.

`keep`, `is_kept`, `wanted`, `came_back`, `forget` and `usage` never block; one thread does the work, in order. A step
is charged here from the moment it left the devices until it is on one again, its files leave the disk cache, or others
need the room (`host_ledger.py` has the order). What cannot be kept is not kept, and nobody fails for it.
"""

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from server.domain.model import Step, StepDigest
from server.store.disk import files as disk_files
from server.store.disk.ledger import FileId, StepFiles
from server.store.host.ledger import Change, HostLedger
from server.store.host.pages import Pages

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """What happened since the start."""

    kept: int = 0
    """Steps that were brought in."""
    hits: int = 0
    """Loads of steps that were kept."""
    misses: int = 0
    """Loads of steps that were not."""
    evictions: int = 0
    """Steps that left because others needed the room."""


class HostTier:
    """Keeps files within `budget_bytes()`, which is asked whenever something is to be kept. `close` it last."""

    is_on = True

    def __init__(self, budget_bytes: Callable[[], int], pages: Pages) -> None:
        self._budget_bytes = budget_bytes
        self._pages = pages
        self._ledger = HostLedger()
        self._paths: dict[FileId, Path] = {}
        self._tally = Tally()
        # Written by callers, looked at by the worker between two chunks of a file.
        self._coming: dict[StepDigest, int] = {}
        """Which call of `keep` counts for the step: a later one begins anew."""
        self._calls = itertools.count()
        self._kept: set[StepDigest] = set()
        self._leaving: deque[tuple[StepDigest, bool]] = deque()
        self._touched: deque[StepDigest] = deque()
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="host-tier")

    def keep(self, step: Step) -> None:
        """The step left the devices: bring its files into host memory, or keep them there."""
        with self._lock:
            if step.digest in self._kept or step.digest in self._coming:
                return
            call = self._coming[step.digest] = next(self._calls)
        self._submit(self._bring, step.digest, call, step.directory, self._budget_bytes())

    def is_kept(self, digest: StepDigest) -> bool:
        """Whether all files of the step were brought in. Does not count as a use."""
        return digest in self._kept

    def wanted(self, digest: StepDigest) -> bool:
        """A load of the step begins: whether its files are kept. Counted, and it leaves last from now on."""
        is_hit = digest in self._kept
        self._tally.hits += is_hit
        self._tally.misses += not is_hit
        if is_hit:
            self._touched.append(digest)
        return is_hit

    def came_back(self, digest: StepDigest) -> None:
        """The step is on a device: it is not charged here any more. Its pages stay warm as long as the kernel likes."""
        self._leave(digest, is_cold=False)

    def forget(self, digest: StepDigest) -> None:
        """The step's files left the disk cache. Safe in any thread."""
        self._leave(digest, is_cold=True)

    def usage(self) -> dict[str, int | bool]:
        """Figures for people: bytes, budget, steps, and what happened since the start."""
        return {
            "used_bytes": self._ledger.used_bytes,
            "budget_bytes": self._budget_bytes(),
            "steps": len(self._kept),
            "coming": len(self._coming),
            "is_locked": self._pages.is_locked,
            "hits": self._tally.hits,
            "misses": self._tally.misses,
            "kept": self._tally.kept,
            "evictions": self._tally.evictions,
        }

    def finish(self) -> None:
        """Block until everything that was told so far is done."""
        self._worker.submit(lambda: None).result()

    def close(self) -> None:
        """Let go of everything, and end the thread. Blocks for a chunk of a file at most. Idempotent."""
        with self._lock:
            self._coming.clear()
            self._leaving.extend((digest, False) for digest in self._kept)
            self._kept.clear()
        self._submit(self._settle)
        self._submit(self._pages.close)
        self._worker.shutdown(wait=True)

    def _leave(self, digest: StepDigest, *, is_cold: bool) -> None:
        with self._lock:
            if digest not in self._kept and digest not in self._coming:
                return
            self._coming.pop(digest, None)
            self._kept.discard(digest)
            self._leaving.append((digest, is_cold))
        self._submit(self._settle)

    def _submit(self, work: Callable[..., None], *facts: object) -> None:
        with suppress(RuntimeError):  # closed: the server is stopping
            self._worker.submit(self._guarded, work, *facts)

    # In the worker's thread; the ledger and the pages are its own.

    def _guarded(self, work: Callable[..., None], *facts: object) -> None:
        try:
            work(*facts)
        except Exception:
            _log.exception("the host tier failed, and goes on")

    def _bring(self, digest: StepDigest, call: int, folder: Path, budget_bytes: int) -> None:
        self._settle()
        self._displace(self._ledger.resize(budget_bytes))
        try:
            files = disk_files.measure(folder).files
            is_charged = self._is_called_for(digest, call) and self._charge(digest, files)
            if is_charged and self._read(digest, call, folder) == files.keys() and self._arrived(digest, call):
                self._settle()
                return
        except OSError as error:
            _log.info("step %s is not kept in host memory: %s", digest[:12], error)
        self._give_up(digest, call)

    def _is_called_for(self, digest: StepDigest, call: int) -> bool:
        return self._coming.get(digest) == call

    def _charge(self, digest: StepDigest, files: StepFiles) -> bool:
        """Charge the step; whether it is there and fits."""
        change = self._ledger.keep(digest, files)
        self._displace(change)
        return change.is_kept and bool(files)

    def _read(self, digest: StepDigest, call: int, folder: Path) -> set[FileId]:
        """Bring the files in, as long as the step is to be kept; returns those that are in."""
        done: set[FileId] = set()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = path.lstat()
            file = (info.st_dev, info.st_ino)
            self._paths[file] = path
            with closing(self._pages.bring(file, path)) as chunks:
                for _ in chunks:
                    if not self._is_called_for(digest, call):
                        return done
                    self._settle(besides=digest)
            done.add(file)
        return done

    def _arrived(self, digest: StepDigest, call: int) -> bool:
        with self._lock:
            if not self._is_called_for(digest, call):
                return False
            del self._coming[digest]
            self._kept.add(digest)
        self._tally.kept += 1
        return True

    def _give_up(self, digest: StepDigest, call: int) -> None:
        with self._lock:
            if self._is_called_for(digest, call):
                del self._coming[digest]
        self._let_go(self._ledger.drop(digest), is_cold=False)
        self._settle()

    def _displace(self, change: Change) -> None:
        with self._lock:
            self._kept.difference_update(change.steps_left)
        self._tally.evictions += len(change.steps_left)
        self._let_go(change.files_left, is_cold=True)

    def _settle(self, besides: StepDigest | None = None) -> None:
        """Let go of what has left meanwhile; `besides` is being read just now."""
        while self._touched:
            self._ledger.touch(self._touched.popleft())
        for _ in range(len(self._leaving)):
            digest, is_cold = self._leaving.popleft()
            if digest == besides:
                self._leaving.append((digest, is_cold))
            else:
                self._let_go(self._ledger.drop(digest), is_cold=is_cold)

    def _let_go(self, files: frozenset[FileId], *, is_cold: bool) -> None:
        for file in files:
            path = self._paths.pop(file, None)
            if path is not None:
                self._pages.let_go(file, path, is_cold=is_cold)

"""What lies in the disk cache: archives, their steps, who holds what, and in which order they were used.

Keeps the books and the folder true to each other; who may stay is decided elsewhere. Its methods move files, which is
quick on one file system; whoever calls them holds the cache's lock, and deletes what they take away after it.

Of thousands of archives only those that were used last are described in memory; of the others the steps are known, and
the rest is read again from their records (`recall`).
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from server.archive.weights import is_sealed
from server.domain.cold_start import NOT_STAGED
from server.domain.model import FileSha, StagedArchive, StepDigest
from server.store.disk import files as disk_files
from server.store.disk.files import Measured
from server.store.disk.layout import DiskLayout
from server.store.disk.ledger import Ledger
from server.store.disk.one_of_each import OneOfEach
from server.store.disk.plan import Plan, Record
from server.store.disk.records import StagedRecord
from server.store.disk.weight_index import WeightIndex

MOST_DESCRIBED: Final = 256
"""What is in memory comes on top."""


class Contents:
    """Archives by key, and their steps."""

    def __init__(
        self,
        layout: DiskLayout,
        most_described: int = MOST_DESCRIBED,
        retained: Callable[[], Collection[StepDigest]] = frozenset,
    ) -> None:
        """`most_described` archives are at hand (a fifth more for a while), and all whose entry step is `retained`."""
        self._layout = layout
        self._most_described = most_described
        self._retained = retained
        self._put_away_at = most_described
        self.archives: dict[str, StagedArchive] = {}
        """Those at hand."""
        self.held: dict[str, tuple[StepDigest, ...]] = {}
        """The steps of every archive."""
        self.ledger = Ledger()
        self.weights = WeightIndex()
        self._stamps: dict[StepDigest, bytes] = {}
        self._steps = OneOfEach()
        self._last_use: dict[str, int] = {}
        self._ticks = itertools.count()
        self.tell_discarded: Callable[[StepDigest], None] = lambda _: None

    # Questions

    def has(self, digests: Collection[StepDigest]) -> bool:
        """Whether all of these steps were placed, and none was given up since."""
        return all(digest in self._stamps for digest in digests)

    def is_sound(self, digest: StepDigest) -> bool:
        """Whether the step is there, and is what it was when it was placed."""
        known = self._stamps.get(digest)
        return known is not None and disk_files.measure(self._layout.steps / digest).stamp == known.hex()

    def equal_file(self, digest: FileSha, size_bytes: int) -> Path | None:
        """Where a weight file of this content lies in a sound step; `None` where there is none."""
        for step, path in self.weights.places(digest):
            found = self._layout.steps / step / path
            if is_sealed(found, size_bytes) and self.is_sound(step):
                return found
        return None

    def record(self, key: str) -> Record | None:
        """What the archive holds; `None` where it is not there."""
        held = self.held.get(key)
        return Record(key, held) if held else None

    def by_last_use(self) -> Iterator[Record]:
        """The least recently used first; sorted only when somebody looks."""
        for key in self.keys_by_last_use():
            yield Record(key, self.held[key])

    def keys_by_last_use(self) -> list[str]:
        """The keys of all archives, the least recently used first."""
        return sorted(self.held, key=lambda key: self._last_use.get(key, 0))

    # Changes

    def recover(self) -> None:
        """Clean up what an earlier server left unfinished, and remember what it finished. Raises OSError."""
        found = self._layout.recover()
        for digest, measured in found.steps.items():
            self._note_placed(digest, measured)
        for record in found.records:
            self.remember(record.key, record.archive)

    def touch(self, key: str) -> None:
        """Note that the archive was asked for."""
        if key in self.held:
            self._last_use[key] = next(self._ticks)

    def recall(self, key: str) -> StagedArchive | None:
        """The archive, described again if it was not at hand; `None` where it is not there. Reads a file."""
        archive = self.archives.get(key)
        if archive is None and key in self.held:
            record = self._layout.read(key)
            if record is not None:
                self.touch(key)
                archive = self._describe(key, record.archive)
        return archive

    def place(self, staged: StagedArchive, arriving: Mapping[StepDigest, Measured]) -> StagedArchive:
        """Move the arriving steps to their places; returns the archive as it lies there. Raises OSError."""
        steps = []
        for step in staged.steps:
            if step.digest in arriving and step.digest not in self._stamps:
                self._layout.place(step.directory, step.digest)
                self._note_placed(step.digest, arriving[step.digest])
            steps.append(replace(step, directory=self._layout.steps / step.digest))
        return replace(staged, steps=tuple(steps), staged_from="disk", staging=NOT_STAGED)

    def write_down(self, key: str, archive: StagedArchive) -> None:
        """Let the archive survive a restart. Raises OSError."""
        stamps = {step.digest: self._stamps[step.digest].hex() for step in archive.steps}
        self._layout.write(StagedRecord(key, archive, stamps))

    def remember(self, key: str, archive: StagedArchive) -> StagedArchive:
        """From now on the key means this archive. Returns what stands for it."""
        self.forget(key)
        self.held[key] = tuple({step.digest for step in archive.steps})
        self.ledger.hold(self.held[key])
        for step in archive.steps:
            self.weights.add(step.digest, step.weights)
        self.touch(key)
        return self._describe(key, archive)

    def forget(self, key: str) -> None:
        """From now on the key means nothing; unknown ones are ignored."""
        self._put_away(key)
        self.ledger.release(self.held.pop(key, ()))
        self._last_use.pop(key, None)

    def give_up(self, decision: Plan) -> None:
        """From now on nobody gets what is to go."""
        for key in decision.drop:
            self.forget(key)
        for digest in decision.delete:
            self._stamps.pop(digest, None)

    def carry_out(self, decision: Plan) -> list[Path]:
        """Forget at once what goes; the returned folders are to be deleted."""
        for key in decision.drop:
            self._layout.erase(key)
            self.forget(key)
        return [trash for digest in decision.delete for trash in self.discard(digest)]

    def discard(self, digest: StepDigest) -> list[Path]:
        """Take a step away; the returned folders are to be deleted."""
        trash = self._layout.discard(digest)
        self.ledger.remove(digest)
        self.weights.remove(digest)
        self._stamps.pop(digest, None)
        self.tell_discarded(digest)
        return [trash] if trash else []

    def _describe(self, key: str, archive: StagedArchive) -> StagedArchive:
        kept = replace(archive, steps=tuple(map(self._steps.hold, archive.steps)))
        self.archives[key] = kept
        self._put_away_the_oldest()
        return kept

    def _put_away_the_oldest(self) -> None:
        """Sorted only now and then, for many at once."""
        if len(self.archives) <= 1.2 * self._put_away_at:
            return
        retained = self._retained()
        spared = [key for key, archive in self.archives.items() if archive.entry not in retained]
        for key in sorted(spared, key=lambda key: self._last_use.get(key, 0))[: -self._most_described]:
            self._put_away(key)
        self._put_away_at = max(self._most_described, len(self.archives))

    def _put_away(self, key: str) -> None:
        archive = self.archives.pop(key, None)
        for step in archive.steps if archive is not None else ():
            self._steps.release(step)

    def _note_placed(self, digest: StepDigest, measured: Measured) -> None:
        self.ledger.place(digest, measured.files)
        self._stamps[digest] = bytes.fromhex(measured.stamp)

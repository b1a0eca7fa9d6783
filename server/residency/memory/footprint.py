"""What a step will take and how long it will load: predicted before the first load, remembered after it.

Predictions come from, in this order: what was measured here before; the archive's manifest (measured where it was
built); the engine; the size of the step's files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from server.domain.model import CPU, NOTHING, Device, FileSha, Footprint, Step, StepDigest, clipped
from server.residency.memory.footprint_file import FootprintFile, Measurement
from server.residency.options import ResidencyOptions

MOST_REMEMBERED: Final = 20_000
NOISE: Final = 0.05
"""Measurements of one step differ by so much (allocators reuse holes). Seen: 8.20 to 8.50 MB for 8 MB of weights."""


@dataclass(frozen=True, slots=True)
class Unsaved:
    """Measurements on their way to the file; `is_whole`: all of them, to take its place."""

    measurements: list[Measurement]
    is_whole: bool


class Footprints:
    """Predictions of bytes and load times. `options.footprint_file` keeps the measurements over restarts.

    Args:
        ask_engine: the engine's own prediction, asked when nothing was measured or declared.
        budgets: bytes per device; no prediction grows beyond them.
        options: the last resort's guesses, and the file, which `write` writes.
    """

    def __init__(
        self,
        ask_engine: Callable[[Step], Footprint],
        budgets: Mapping[Device, int],
        options: ResidencyOptions,
    ) -> None:
        self._ask_engine = ask_engine
        self._budgets = budgets
        self._options = options
        file, measured_by = options.footprint_file, options.footprints_of
        self._file = FootprintFile(file, measured_by) if file is not None else None
        self._bytes: dict[StepDigest, Mapping[Device, int]] = {}
        self._mapped: dict[StepDigest, Mapping[FileSha, int]] = {}
        self._file_bytes: dict[tuple[FileSha, str], int] = {}
        """How much of a weight file the steps of a backend map. Not written down: it is learnt with the first load."""
        self._load_s: dict[StepDigest, float] = {}
        self._outgrown: set[StepDigest] = set()
        """Steps of which the bytes are no measurement: the device ran out of memory when they were loaded."""
        self._unsaved: dict[StepDigest, None] = {}
        for each in self._file.read() if self._file is not None else ():
            self._bytes[each.digest] = _one_of_equals(each.bytes_by_device)
            self._load_s[each.digest] = each.load_s
            if each.mapped:
                self._mapped[each.digest] = each.mapped
            if each.is_outgrown:
                self._outgrown.add(each.digest)

    def predict(self, step: Step) -> Footprint:
        """Bytes per device that the step will be charged with, and which mapped weight files are in them.

        What was never loaded is expected to map as much of a file as others that were.
        """
        measured = self._bytes.get(step.digest)
        if measured is not None:
            is_measured = step.digest not in self._outgrown
            return Footprint(measured, mapped=self._mapped.get(step.digest, NOTHING.mapped), is_measured=is_measured)
        guess = self._guess(step)
        known = {each.digest: self._file_bytes.get((each.digest, step.backend), 0) for each in step.weights}
        if not any(known.values()):
            return guess
        mapped = {file: amount for file, amount in known.items() if amount}
        return Footprint(guess.bytes_by_device, mapped=clipped(mapped, guess.on(CPU)))

    def _guess(self, step: Step) -> Footprint:
        if step.predicted.bytes_by_device:
            return step.predicted
        asked = self._ask_engine(step)
        if asked.bytes_by_device:
            return asked
        return Footprint({next(iter(self._budgets), CPU): int(step.file_bytes * self._options.bytes_per_file_byte)})

    def learned_load_s(self, step: Step) -> float | None:
        """Seconds that the step's last load took; `None` where none was seen."""
        return self._load_s.get(step.digest)

    def predict_load_s(self, step: Step) -> float:
        """Seconds that loading the step will take."""
        return self._load_s.get(step.digest, step.file_bytes / self._options.guessed_bytes_per_s)

    def measured(self, step: Step, footprint: Footprint, load_s: float) -> Footprint:
        """Remember what a load showed; returns what to charge.

        That is what was remembered, where the difference is noise: a charge above its prediction overdraws the budget.
        """
        self._load_s[step.digest] = load_s
        self._outgrown.discard(step.digest)
        self._learn_files(step, footprint)
        known = self._bytes.get(step.digest)
        if known is not None and _is_noise(known, footprint.bytes_by_device):
            mapped = clipped(footprint.mapped, known.get(CPU, 0))
            if mapped != self._mapped.get(step.digest, NOTHING.mapped):
                self._remember(step, known, mapped)
            return Footprint(known, mapped=mapped)
        self._remember(step, footprint.bytes_by_device, footprint.mapped)
        return footprint

    def _learn_files(self, step: Step, footprint: Footprint) -> None:
        for file, amount in footprint.mapped.items():
            self._file_bytes.pop((file, step.backend), None)
            self._file_bytes[file, step.backend] = amount
        while len(self._file_bytes) > MOST_REMEMBERED:
            del self._file_bytes[next(iter(self._file_bytes))]

    def outgrew(self, step: Step) -> None:
        """The device ran out of memory: expect twice as much next time, at most the whole budget."""
        expected = self.predict(step)
        amounts = {
            device: min(2 * amount, self._budgets.get(device, 2 * amount))
            for device, amount in expected.bytes_by_device.items()
        }
        self._outgrown.add(step.digest)
        self._remember(step, amounts, clipped(expected.mapped, amounts.get(CPU, 0)))

    @property
    def needs_saving(self) -> bool:
        """Whether there is something to save, and a place for it."""
        return bool(self._unsaved) and self._file is not None

    def take_unsaved(self) -> Unsaved:
        """Say what `write` has to write. To be called where measurements are made: it forgets what it says."""
        is_whole = self._file is not None and self._file.is_mostly_history(len(self._bytes))
        unsaved, self._unsaved = self._unsaved, {}
        return Unsaved([self._measurement(digest) for digest in (self._bytes if is_whole else unsaved)], is_whole)

    def write(self, unsaved: Unsaved) -> None:
        """Write it. Blocks, for one small write as a rule; safe in any thread."""
        if self._file is not None:
            (self._file.replace if unsaved.is_whole else self._file.add)(unsaved.measurements)

    def _measurement(self, digest: StepDigest) -> Measurement:
        mapped = self._mapped.get(digest, NOTHING.mapped)
        is_outgrown = digest in self._outgrown
        return Measurement(digest, self._bytes.get(digest, {}), self._load_s.get(digest, 0.0), mapped, is_outgrown)

    def _remember(self, step: Step, amounts: Mapping[Device, int], mapped: Mapping[FileSha, int]) -> None:
        self._bytes.pop(step.digest, None)  # the newest stands last, the oldest is forgotten first
        self._bytes[step.digest] = _one_of_equals(amounts)
        self._mapped.pop(step.digest, None)
        if mapped:
            self._mapped[step.digest] = mapped
        if self._file is not None:
            self._unsaved[step.digest] = None
        while len(self._bytes) > MOST_REMEMBERED:
            oldest = next(iter(self._bytes))
            del self._bytes[oldest]
            self._load_s.pop(oldest, None)
            self._outgrown.discard(oldest)
            self._mapped.pop(oldest, None)


def _one_of_equals(amounts: Mapping[Device, int]) -> Mapping[Device, int]:
    """The same amounts: thousands of heads that are alike take the same, and it is written down once."""
    return _shared(tuple(amounts.items()))


@lru_cache(maxsize=1024)
def _shared(amounts: tuple[tuple[Device, int], ...]) -> Mapping[Device, int]:
    return MappingProxyType(dict(amounts))


def _is_noise(known: Mapping[Device, int], measured: Mapping[Device, int]) -> bool:
    return known.keys() == measured.keys() and all(
        abs(measured[device] - amount) <= NOISE * amount for device, amount in known.items()
    )

"""What a step will take and how long it will load: predicted before the first load, remembered after it.

Predictions come from, in this order: what was measured here before; the archive's manifest (measured where it was
built); the engine; the size of the step's files.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from server.domain.model import CPU, Device, Footprint, Step, StepDigest
from server.residency.options import ResidencyOptions

FORMAT: Final = 1
MOST_REMEMBERED: Final = 20_000
NOISE: Final = 0.05
"""Measurements of one step differ by so much (allocators reuse holes). Seen: 8.20 to 8.50 MB for 8 MB of weights."""


class Footprints:
    """Predictions of bytes and load times. `options.footprint_file` keeps the measurements over restarts.

    Args:
        ask_engine: the engine's own prediction, asked when nothing was measured or declared.
        budgets: bytes per device; no prediction grows beyond them.
        options: the last resort's guesses, and the file: JSON, written by `save`; unreadable content is ignored, since
            measurements come back by themselves.
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
        self._file = options.footprint_file
        self._bytes: dict[StepDigest, dict[Device, int]] = {}
        self._load_s: dict[StepDigest, float] = {}
        self._is_changed = False
        if self._file is not None:
            self._read(self._file)

    def predict(self, step: Step) -> Footprint:
        """Bytes per device that the step will be charged with."""
        measured = self._bytes.get(step.digest)
        if measured is not None:
            return Footprint(measured)
        if step.predicted.bytes_by_device:
            return step.predicted
        asked = self._ask_engine(step)
        if asked.bytes_by_device:
            return asked
        return Footprint({next(iter(self._budgets), CPU): int(step.file_bytes * self._options.bytes_per_file_byte)})

    def predict_load_s(self, step: Step) -> float:
        """Seconds that loading the step will take."""
        return self._load_s.get(step.digest, step.file_bytes / self._options.guessed_bytes_per_s)

    def measured(self, step: Step, footprint: Footprint, load_s: float) -> Footprint:
        """Remember what a load showed; returns what to charge.

        That is what was remembered, where the difference is noise: a charge above its prediction overdraws the budget.
        """
        self._load_s[step.digest] = load_s
        known = self._bytes.get(step.digest)
        if known is not None and _is_noise(known, footprint.bytes_by_device):
            return Footprint(known)
        self._remember(step, dict(footprint.bytes_by_device))
        return footprint

    def outgrew(self, step: Step) -> None:
        """The device ran out of memory: expect twice as much next time, at most the whole budget."""
        expected = self.predict(step).bytes_by_device
        self._remember(
            step,
            {device: min(2 * amount, self._budgets.get(device, 2 * amount)) for device, amount in expected.items()},
        )

    @property
    def needs_saving(self) -> bool:
        """Whether there is something to save, and a place for it."""
        return self._is_changed and self._file is not None

    def save(self) -> None:
        """Write what was measured. Blocks; failures to write are ignored: it is a cache."""
        if self._file is None:
            return
        self._is_changed = False
        remembered = {
            digest: {"bytes": amounts, "load_s": round(self._load_s.get(digest, 0.0), 4)}
            for digest, amounts in list(self._bytes.items())
        }
        draft = self._file.with_name(self._file.name + ".draft")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps({"format": FORMAT, "steps": remembered}))
            draft.replace(self._file)
        except OSError:
            self._is_changed = True

    def _remember(self, step: Step, amounts: dict[Device, int]) -> None:
        self._bytes.pop(step.digest, None)  # the newest stands last, the oldest is forgotten first
        self._bytes[step.digest] = amounts
        self._is_changed = True
        while len(self._bytes) > MOST_REMEMBERED:
            oldest = next(iter(self._bytes))
            del self._bytes[oldest]
            self._load_s.pop(oldest, None)

    def _read(self, file: Path) -> None:
        try:
            content: Any = json.loads(file.read_text())
            if content["format"] != FORMAT:
                return
            for digest, entry in content["steps"].items():
                self._bytes[StepDigest(digest)] = {str(device): int(n) for device, n in entry["bytes"].items()}
                self._load_s[StepDigest(digest)] = float(entry["load_s"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._bytes.clear()
            self._load_s.clear()


def _is_noise(known: Mapping[Device, int], measured: Mapping[Device, int]) -> bool:
    return known.keys() == measured.keys() and all(
        abs(measured[device] - amount) <= NOISE * amount for device, amount in known.items()
    )

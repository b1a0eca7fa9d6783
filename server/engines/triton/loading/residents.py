"""Which steps are in tritonserver, and under which names. Pure bookkeeping.

A step's name follows from its digest. Where a Python process died, Triton never lets go of the model: that name is lost
for the rest of the run, also for everything that calls it, and the next load takes a numbered one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from server.domain.errors import EngineLost
from server.domain.model import Device, Step, StepDigest
from server.engines.triton.repository.config_rewrite import model_name


@dataclass(frozen=True, slots=True)
class Resident:
    """A step in Triton. `model` is its name there, `device` where it mostly lies."""

    step: Step
    model: str
    device: Device


class Residents:
    """The steps of one engine, over all runs of its tritonserver."""

    def __init__(self) -> None:
        self._by_digest: dict[StepDigest, Resident] = {}
        self._numbers: dict[StepDigest, int] = {}
        self._author_names: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._by_digest)

    @property
    def author_names(self) -> Mapping[str, str]:
        """For error messages: what authors call the steps, by the unnumbered names in Triton."""
        return self._author_names

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._by_digest.values()))

    def get(self, digest: StepDigest) -> Resident | None:
        """The step if it is there."""
        return self._by_digest.get(digest)

    def name_for(self, step: Step) -> str:
        """The name that a load of `step` uses now."""
        self._author_names[model_name(step.digest)] = step.name
        return model_name(step.digest, self._numbers.get(step.digest, 0))

    def names_of_calls(self, step: Step) -> dict[str, str]:
        """Names in Triton of what `step` calls, by the author's names.

        Raises:
            EngineLost: one of them is not there: it went with its process since the caller looked.
        """
        names = {}
        for author_name, digest in step.calls.items():
            callee = self._by_digest.get(digest)
            if callee is None:
                raise EngineLost(f"step {step.name!r} calls {author_name!r}, which is not in tritonserver any more")
            names[author_name] = callee.model
        return names

    def add(self, resident: Resident) -> None:
        """Note a step that is ready."""
        self._by_digest[resident.step.digest] = resident

    def pop(self, digest: StepDigest) -> Resident | None:
        """Forget a step that will be unloaded; `None` if it is not there."""
        resident = self._by_digest.pop(digest, None)
        if resident is not None:
            self._author_names.pop(model_name(digest), None)
        return resident

    def clear(self) -> list[StepDigest]:
        """Forget everything, because a new run begins; returns what was there."""
        lost = list(self._by_digest)
        for table in (self._by_digest, self._numbers, self._author_names):
            table.clear()
        return lost

    def broken(self, model: str) -> list[Resident]:
        """Take out the step with that name in Triton and everything that calls it, callers first.

        Their names are not used again in this run. Empty if there is no such step (any more).
        """
        digests = {resident.step.digest for resident in self._by_digest.values() if resident.model == model}
        size = 0
        while len(digests) > size:
            size = len(digests)
            digests |= {
                resident.step.digest
                for resident in self._by_digest.values()
                if digests.intersection(resident.step.calls.values())
            }
        taken = [self._by_digest.pop(digest) for digest in reversed(list(self._by_digest)) if digest in digests]
        for resident in taken:
            self._numbers[resident.step.digest] = self._numbers.get(resident.step.digest, 0) + 1
        return taken

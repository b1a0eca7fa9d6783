"""Equal steps of different archives as one object: a thousand heads on one base describe the base once.

What heads have in common (signatures, predictions) is one object as well. Thousands of archives lie on the disk for
each one that is in memory: what they cost there is this.
"""

from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from server.domain.model import NOTHING, Device, Footprint, ModelSignature, Step, StepDigest

_KINDS: Final = 1024


class OneOfEach:
    """Steps that are held, by digest; those of one digest may differ in their names, and in what their archives say."""

    def __init__(self) -> None:
        self._held: dict[StepDigest, tuple[tuple[Step, int], ...]] = {}

    def hold(self, step: Step) -> Step:
        """The one that stands for this step from now on, until it is released as often as it was held."""
        held = self._held.get(step.digest, ())
        kept = next((each for each, _ in held if each == step), None)
        if kept is None:
            kept = _slim(step)
            self._held[step.digest] = (*held, (kept, 1))
        else:
            self._held[step.digest] = tuple((each, count + (each is kept)) for each, count in held)
        return kept

    def release(self, step: Step) -> None:
        """Somebody does not hold it any more."""
        left = tuple((each, count - (each is step)) for each, count in self._held[step.digest])
        self._held[step.digest] = held = tuple((each, count) for each, count in left if count)
        if not held:
            del self._held[step.digest]

    def __len__(self) -> int:
        return sum(map(len, self._held.values()))


def _slim(step: Step) -> Step:
    """The same, of parts that it has in common with others."""
    predicted = step.predicted
    if predicted == Footprint(predicted.bytes_by_device):
        predicted = _prediction(tuple(predicted.bytes_by_device.items()))
    return replace(step, signature=_signature(step.signature), predicted=predicted)


@lru_cache(maxsize=_KINDS)
def _signature(signature: ModelSignature) -> ModelSignature:
    """The first one that was equal to this."""
    return signature


@lru_cache(maxsize=_KINDS)
def _prediction(bytes_by_device: tuple[tuple[Device, int], ...]) -> Footprint:
    return Footprint(MappingProxyType(dict(bytes_by_device))) if bytes_by_device else NOTHING

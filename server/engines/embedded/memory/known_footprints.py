"""What steps take in this process, where that need not be measured again. Read from any thread.

Thousands of archives are often few graphs with many weights: fine-tunes of one encoder, heads of one size. Steps with
equal configs and equally large files are *twins*, and take the same in ONNX Runtime. Once three of them were measured
and agreed, the others need not load alone (`load_turns.py`) for the sake of a measurement that would say the same.
"""

from collections import OrderedDict
from typing import Final, TypeAlias

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.archive.model_config import parameter
from server.domain.model import CPU, Step, StepDigest

_MOST_REMEMBERED: Final = 1_000
"""Residency remembers more of them, and tells what it does (`Footprint.is_measured`)."""
_MOST_KINDS: Final = 1_000
_ENSEMBLE_BYTES: Final = 64 << 10  # a plan: some lists of names
_CONNECTION_BYTES: Final = 256 << 10  # threads and buffers that talk to a Python step's own process
_TWINS: Final = 3
_AGREEMENT: Final = 0.05
"""Between the largest and the smallest of the twins that were measured, in proportion; allocators reuse holes."""
_AGREEMENT_BYTES: Final = 64 << 10

_Kind: TypeAlias = tuple[bytes, int, tuple[int, ...]]
"""What twins have in common: their config without its name, the bytes of all files, and of each weight file."""


class KnownFootprints:
    """Measured by an undisturbed load of the same step, here or by what residency remembers, or of twins; or small."""

    def __init__(self) -> None:
        self._measured: OrderedDict[StepDigest, int] = OrderedDict()
        self._of_kind: OrderedDict[_Kind, dict[StepDigest, int]] = OrderedDict()

    def of(self, step: Step, config: ModelConfig) -> int | None:
        """Bytes in this process; `None` where only a measurement can tell."""
        if step.backend == "ensemble":
            return _ENSEMBLE_BYTES
        if step.backend == "python" and parameter(config, "EXECUTION") != "in-process":
            return _CONNECTION_BYTES
        measured = self._measured.get(step.digest)
        if measured is None and step.predicted.is_measured:
            measured = step.predicted.bytes_by_device.get(CPU)
        return measured if measured is not None else self._of_twins(step, config)

    def remember(self, step: Step, config: ModelConfig, amount: int) -> None:
        """A load showed this."""
        self._measured.pop(step.digest, None)
        self._measured[step.digest] = amount
        if len(self._measured) > _MOST_REMEMBERED:
            self._measured.popitem(last=False)
        if step.backend != "onnxruntime":  # other people's code: what it takes is up to it
            return
        twins = self._of_kind.setdefault(_kind(step, config), {})
        if step.digest in twins or len(twins) < _TWINS:
            twins[step.digest] = amount
        if len(self._of_kind) > _MOST_KINDS:
            self._of_kind.popitem(last=False)

    def _of_twins(self, step: Step, config: ModelConfig) -> int | None:
        """The most that any of them took, if enough were measured and agree."""
        amounts = self._of_kind.get(_kind(step, config), {}).values()
        if len(amounts) < _TWINS or max(amounts) - min(amounts) > max(_AGREEMENT_BYTES, _AGREEMENT * max(amounts)):
            return None
        return max(amounts)


def _kind(step: Step, config: ModelConfig) -> _Kind:
    nameless = ModelConfig()
    nameless.CopyFrom(config)
    nameless.ClearField("name")
    told: bytes = nameless.SerializeToString(deterministic=True)
    return told, step.file_bytes, tuple(sorted(file.size_bytes for file in step.weights))

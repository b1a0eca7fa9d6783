"""What steps take in this process, where that need not be measured again. Read from any thread."""

from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.archive.model_config import parameter
from server.domain.model import CPU, Step, StepDigest

_MOST_REMEMBERED: Final = 20_000
_ENSEMBLE_BYTES: Final = 64 << 10  # a plan: some lists of names
_CONNECTION_BYTES: Final = 256 << 10  # threads and buffers that talk to a Python step's own process


class KnownFootprints:
    """Measured by an earlier, undisturbed load of the same step, as far back as residency remembers; or small."""

    def __init__(self) -> None:
        self._measured: dict[StepDigest, int] = {}

    def of(self, step: Step, config: ModelConfig) -> int | None:
        """Bytes in this process; `None` where only a measurement can tell."""
        if step.backend == "ensemble":
            return _ENSEMBLE_BYTES
        if step.backend == "python" and parameter(config, "EXECUTION") != "in-process":
            return _CONNECTION_BYTES
        measured = self._measured.get(step.digest)
        if measured is None and step.predicted.is_measured:
            return step.predicted.bytes_by_device.get(CPU)
        return measured

    def remember(self, digest: StepDigest, amount: int) -> None:
        """A load showed this."""
        self._measured.pop(digest, None)
        self._measured[digest] = amount
        if len(self._measured) > _MOST_REMEMBERED:
            del self._measured[next(iter(self._measured))]

"""Which waiting requests may run in one execution: Triton's rules for `dynamic_batching`. Pure.

Requests join in the order in which they came. The first one that does not fit ends the batch, so that nobody is
overtaken: too many rows, other inputs, or another shape (but for inputs with `allow_ragged_batch`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.inference import InferenceRequest

_Likeness: TypeAlias = frozenset[tuple[str, tuple[int, ...] | None]]


@dataclass(frozen=True, slots=True)
class BatchRules:
    """`max_rows` is the step's max_batch_size; a batch that is not full waits `max_delay_s` for more."""

    max_rows: int
    max_delay_s: float = 0.0
    ragged: frozenset[str] = frozenset()

    def fitting(self, line: Sequence[InferenceRequest]) -> int:
        """How many requests from the front of the line make one batch: at least one of a line that is not empty."""
        if not line:
            return 0
        wanted, rows = self._likeness(line[0]), _rows(line[0])
        count = 1
        while count < len(line):
            rows += _rows(line[count])
            if rows > self.max_rows or self._likeness(line[count]) != wanted:
                break
            count += 1
        return count

    def is_full(self, line: Sequence[InferenceRequest]) -> bool:
        """Whether waiting would not make the first batch of the line larger."""
        count = self.fitting(line)
        return count < len(line) or sum(map(_rows, line)) >= self.max_rows

    def _likeness(self, request: InferenceRequest) -> _Likeness:
        """What has to be equal of requests in one batch: the inputs that were sent, and their rows' shapes."""
        return frozenset(
            (name, None if name in self.ragged else tensor.shape[1:]) for name, tensor in request.inputs.items()
        )


def rules_of(config: ModelConfig) -> BatchRules | None:
    """The rules that a config asks for; None where each request is to run by itself."""
    if (
        not config.HasField("dynamic_batching")
        or config.max_batch_size < 1
        or config.model_transaction_policy.decoupled
    ):
        return None
    return BatchRules(
        max_rows=config.max_batch_size,
        max_delay_s=config.dynamic_batching.max_queue_delay_microseconds / 1e6,
        ragged=frozenset(each.name for each in config.input if each.allow_ragged_batch),
    )


def _rows(request: InferenceRequest) -> int:
    return max((tensor.shape[0] for tensor in request.inputs.values()), default=1)

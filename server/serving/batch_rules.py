"""Which archives' requests may run together, and by which rules. Pure; `batch_reading.py` gets what it looks at.

Merged are the requests for an *entry model*, before its first step; they are split after its last. That is right where
a row's result does not depend on the rows beside it, which nothing but the archive's author knows. So:

1. A single ONNX model: where its config says `dynamic_batching`, with that block's sizes, delay, priorities and queue
   policies. Engines that batch a backend by themselves keep doing so (`self_batching`).
2. Everything else (Triton forbids `dynamic_batching` on ensembles): where every step takes batches, and either the
   manifest's task is one of those whose rows stand for themselves (`ROW_WISE_TASKS`), or every step but the ensembles
   says `dynamic_batching`, which is its author's word for the same. No delay: what gathers while the engine is busy is
   the window.

Never merged: decoupled and stateful models; steps with a response cache, which would see every batch as something new;
tensors of open shape at an entry of kind 2, whose answers would show what they were padded with; and, but for kind 1,
graphs that quantise while they run, since their scales are taken over all rows of a batch.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from server.archive.model_config import ModelConfig, backend_of
from server.domain.model import ModelSignature, StagedArchive, StepDigest

ROW_WISE_TASKS: Final = frozenset({"sentence-embedding", "sentence-classification", "text-classification"})
"""Tasks (of the manifest) in which each row of a request is answered for itself."""

ALL_BACKENDS: Final = "*"
_MICROSECONDS: Final = 1e-6
_DELAY: Final = 1  # ModelQueuePolicy.TimeoutAction


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    """How requests of one priority wait: Triton's `ModelQueuePolicy`. 0 is "no limit"."""

    max_waiting: int = 0
    timeout_s: float = 0.0
    is_delayed: bool = False
    """What comes of a request whose time is over: it goes behind all others, or (False) it is refused."""
    may_override: bool = False
    """Whether a request may bring a shorter time-out of its own."""

    def timeout_of(self, asked_s: float) -> float:
        """The time in line of a request that asks for `asked_s` (0: it does not). Seconds, 0 for no limit."""
        if not self.may_override or asked_s <= 0:
            return self.timeout_s
        return min(asked_s, self.timeout_s or asked_s)


@dataclass(frozen=True, slots=True)
class BatchRules:
    """How the requests of one entry model are merged."""

    max_rows: int
    """The entry model's max_batch_size."""
    preferred_rows: tuple[int, ...] = ()
    """Sizes that batches are cut to, ascending; empty: any."""
    max_delay_s: float = 0.0
    """How long a batch that is smaller than wanted waits for more, even on an idle engine."""
    is_text: bool = False
    """Whether rows are texts, which are padded to the longest of their batch."""
    priority_levels: int = 0
    default_priority: int = 0
    policy: QueuePolicy = QueuePolicy()
    policies: Mapping[int, QueuePolicy] = field(default_factory=lambda: MappingProxyType({}))

    def priority(self, asked: object) -> int:
        """The level of a request that asks for `asked`; 1 is served first."""
        if isinstance(asked, int) and 1 <= asked <= self.priority_levels:
            return asked
        return self.default_priority

    def policy_of(self, priority: int) -> QueuePolicy:
        """How requests of that level wait."""
        return self.policies.get(priority, self.policy)


def may_batch(signature: ModelSignature) -> bool:
    """Whether it is worth looking further: quick, for the first request of an archive."""
    return signature.max_batch_size > 1 and not signature.is_decoupled


def rules_for(
    archive: StagedArchive,
    configs: Mapping[StepDigest, ModelConfig],
    mixing: Collection[StepDigest],
    self_batching: Collection[str],
) -> BatchRules | None:
    """The rules for an archive's requests; None where each is to run by itself.

    `mixing`: steps whose graphs quantise while they run. `self_batching`: backends whose single models the engine
    batches itself (`ALL_BACKENDS`: each).
    """
    entry = configs[archive.entry]
    used = [configs[digest] for digest in _reachable(archive)]
    if not may_batch(archive.signature) or any(map(_keeps_apart, used)):
        return None
    if entry.HasField("dynamic_batching"):
        return None if {backend_of(entry), ALL_BACKENDS} & set(self_batching) else _asked_for(archive, entry)
    is_fixed = all(dim >= 0 for spec in (*archive.signature.inputs, *archive.signature.outputs) for dim in spec.dims)
    if not is_fixed or mixing or not _takes_batches(archive, used):
        return None
    return BatchRules(archive.signature.max_batch_size, is_text=_is_text(archive.signature))


def _takes_batches(archive: StagedArchive, used: Sequence[ModelConfig]) -> bool:
    if any(config.max_batch_size < archive.signature.max_batch_size for config in used):
        return False
    leaves = [config for config in used if backend_of(config) != "ensemble"]
    return archive.task in ROW_WISE_TASKS or all(config.HasField("dynamic_batching") for config in leaves)


def _keeps_apart(config: ModelConfig) -> bool:
    is_apart = config.model_transaction_policy.decoupled or config.response_cache.enable
    return bool(is_apart or config.HasField("sequence_batching"))


def _is_text(signature: ModelSignature) -> bool:
    return any(spec.datatype == "BYTES" for spec in signature.inputs)


def _reachable(archive: StagedArchive) -> set[StepDigest]:
    steps = {step.digest: step for step in archive.steps}
    found: set[StepDigest] = set()
    waiting = [archive.entry]
    while waiting:
        digest = waiting.pop()
        if digest not in found:
            found.add(digest)
            waiting.extend(steps[digest].calls.values())
    return found


def _asked_for(archive: StagedArchive, config: ModelConfig) -> BatchRules:
    asked = config.dynamic_batching
    return BatchRules(
        max_rows=config.max_batch_size,
        preferred_rows=tuple(sorted(size for size in asked.preferred_batch_size if size <= config.max_batch_size)),
        max_delay_s=asked.max_queue_delay_microseconds * _MICROSECONDS,
        is_text=_is_text(archive.signature),
        priority_levels=asked.priority_levels,
        default_priority=asked.default_priority_level,
        policy=_policy(asked.default_queue_policy),
        policies={level: _policy(policy) for level, policy in asked.priority_queue_policy.items()},
    )


def _policy(policy: object) -> QueuePolicy:
    return QueuePolicy(
        max_waiting=policy.max_queue_size,  # type: ignore[attr-defined]
        timeout_s=policy.default_timeout_microseconds * _MICROSECONDS,  # type: ignore[attr-defined]
        is_delayed=policy.timeout_action == _DELAY,  # type: ignore[attr-defined]
        may_override=policy.allow_timeout_override,  # type: ignore[attr-defined]
    )

"""What an archive's signature means for KServe requests, worked out once and kept: tables that each request looks into.

Found by the signature's identity, because to hash one by its content takes as long as to build the tables.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from server.domain.model import ModelSignature, TensorSpec

MOST_KEPT: Final = 4096
"""Signatures that are kept, some kilobytes each; when there are more, all are worked out again."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One signature's tables. `shapes` have the batch axis, as -1; `plans` is `kserve_reply`'s own."""

    signature: ModelSignature
    inputs: Mapping[str, TensorSpec]
    shapes: Mapping[str, tuple[int, ...]]
    required: frozenset[str]
    plans: dict[Any, Any] = field(default_factory=dict)


class Tables:
    """The tables of the signatures that were met."""

    def __init__(self, most_kept: int = MOST_KEPT) -> None:
        self._most_kept = most_kept
        self._kept: dict[int, Expected] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, signature: ModelSignature) -> Expected:
        """The tables of a signature."""
        found = self._kept.get(id(signature))
        if found is not None and found.signature is signature:
            return found
        if len(self._kept) >= self._most_kept:
            self._kept.clear()
        made = self._kept[id(signature)] = _worked_out(signature)
        return made


def _worked_out(signature: ModelSignature) -> Expected:
    batch = (-1,) if signature.is_batched else ()
    return Expected(
        signature,
        {spec.name: spec for spec in signature.inputs},
        {spec.name: (*batch, *spec.dims) for spec in signature.inputs},
        frozenset(spec.name for spec in signature.inputs if not spec.is_optional),
    )


expected: Final = Tables().of
"""The tables of a signature, kept for the whole process."""

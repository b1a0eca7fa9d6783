"""The classification extension: an output becomes its n largest values, as strings `value:index[:label]`.

Per item of the batch, in descending order; equal values keep the order of their indices, NaN comes last.
Values are written as C++'s `std::to_string` does: floats with six decimals, integers plain.
"""

from typing import Final

import numpy as np

from server.codecs.kserve.bytes_elements import object_array
from server.domain.errors import InvalidRequest
from server.domain.inference import Array, Tensor

_FLOATS: Final = frozenset({"FP32", "FP64"})
_INTEGERS: Final = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
LARGEST: Final = 1_000_000
"""More classes than this are refused, as Triton does."""


def check(classes: object, datatype: str, name: str) -> int:
    """Read the parameter `classification` of an output; 0 turns it off.

    Raises:
        InvalidRequest: not an unsigned integer, too many, or a datatype that cannot be ranked.
    """
    if type(classes) is not int or not 0 <= classes <= LARGEST:
        raise InvalidRequest(f"'classification' of output '{name}' must be an unsigned integer up to {LARGEST}")
    if classes and datatype not in _FLOATS | _INTEGERS:
        raise InvalidRequest(f"class result not available for output '{name}' due to unsupported type '{datatype}'")
    return classes


def classify(tensor: Tensor, classes: int, is_batched: bool, labels: tuple[str, ...]) -> Tensor:
    """Rank an output: BYTES of shape `[batch, min(classes, elements per item)]`, without batch `[min(...)]`."""
    items = tensor.data.reshape(-1) if not is_batched else tensor.data
    batch = items.shape[0] if is_batched else 1
    elements = items.size // batch if batch else 0
    rows = items.reshape(batch, elements)
    kept = min(classes, elements)
    chosen = _largest(rows)[:, :kept]
    values = np.take_along_axis(rows, chosen, axis=1)
    pattern = "%f:%d" if tensor.datatype in _FLOATS else "%d:%d"
    strings = [
        pattern % pair + (f":{labels[pair[1]]}" if pair[1] < len(labels) and labels[pair[1]] else "")
        for pair in zip(values.ravel().tolist(), chosen.ravel().tolist(), strict=True)
    ]
    shape = (batch, kept) if is_batched else (kept,)
    return Tensor(tensor.name, "BYTES", object_array([text.encode() for text in strings], shape))


def _largest(rows: Array) -> Array:
    """Indices of each row, by descending value. Integers are not negated: that wraps for the smallest one."""
    if rows.dtype.kind == "f":
        return np.argsort(-rows, axis=1, kind="stable")
    backwards = np.argsort(rows[:, ::-1], axis=1, kind="stable")[:, ::-1]
    return rows.shape[1] - 1 - backwards

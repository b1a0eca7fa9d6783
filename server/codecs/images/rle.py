"""Masks as run lengths, as the COCO API writes them: `{"size": [height, width], "counts": "..."}`.

Column by column, lengths of runs that alternate between 0 and 1 and begin with 0; from the fourth on each is written as
the difference to the one two before. A number becomes groups of 5 bits, lowest first, with a sixth bit for "more
follows" and the sign in the last group, each plus 48. Source: `rleToString` of cocodataset/cocoapi.
"""

from typing import Final

import numpy as np

from server.domain.inference import Array

_BITS: Final = 5
_GROUP: Final = (1 << _BITS) - 1
_SIGN: Final = 1 << (_BITS - 1)
_MORE: Final = 1 << _BITS
_FIRST_CHARACTER: Final = 48


def encode(mask: Array) -> dict[str, object]:
    """Write a mask [height, width] (zero or not) as a JSON-ready COCO RLE."""
    return {"size": list(mask.shape), "counts": characters(run_lengths(mask))}


def run_lengths(mask: Array) -> Array:
    """INT64: lengths of the runs of 0 and not 0 in turn, column by column; the first, of 0, may be empty."""
    flat = (mask != 0).ravel(order="F")
    turns = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate(([0], [0] if flat.size and flat[0] else [], turns, [flat.size])).astype(np.int64)
    return np.diff(edges)


def characters(lengths: Array) -> str:
    """Compress run lengths to ASCII."""
    left = lengths.astype(np.int64)
    left[3:] -= lengths[1:-2]
    columns: list[Array] = []
    is_open = np.ones(left.shape, np.bool_)
    while is_open.any():
        group = left & _GROUP
        left >>= _BITS
        has_more = np.where(group & _SIGN, left != -1, left != 0)
        character = group + has_more * _MORE + _FIRST_CHARACTER
        columns.append(np.where(is_open, character, 0).astype(np.uint8))
        is_open &= has_more
    if not columns:
        return ""
    written = np.stack(columns, axis=1).ravel()
    return str(written[written != 0].tobytes(), "ascii")

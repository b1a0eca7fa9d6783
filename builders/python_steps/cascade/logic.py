"""Which rows of a batch need the second, fine-grained model. Pure numpy."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def fired(scores: Floats, fires: int, threshold: float) -> npt.NDArray[np.bool_]:
    """BOOL [batch]: where the first model's score of class `fires`, of FP32 [batch, classes], reaches the threshold."""
    reached: npt.NDArray[np.bool_] = scores[:, fires] >= np.float32(threshold)
    return reached


def spread(rows: npt.NDArray[np.bool_], fine: Mapping[str, Floats], names: Sequence[str], classes: int) -> list[Floats]:
    """The second model's outputs at the rows that it was asked for, zeros elsewhere: FP32 [batch, classes] each."""
    whole = [np.zeros((len(rows), classes), np.float32) for _ in names]
    if rows.any():
        for array, name in zip(whole, names, strict=True):
            array[rows] = fine[name]
    return whole

"""Normal noise that equals `torch.randn(..., generator=torch.Generator("cpu"))` from the same seed. Pure numpy.

Torch draws 32 bits per number from MT19937, keeps 24 of them as a uniform number, and turns blocks of 16 uniforms into
16 normals by Box-Muller: eight radii from the first half, eight angles from the second. A last block that is not full
is drawn again from the end. Source: PyTorch, `aten/src/ATen/native/cpu/DistributionTemplates.h` (`normal_fill`).
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_BLOCK: Final = 16
_HALF: Final = _BLOCK // 2
_UNIT: Final = np.float32(2.0**-24)
_TURN: Final = np.float32(2 * np.pi)


class TorchNoise:
    """A stream of normal numbers from one seed; each draw goes on where the last one ended."""

    def __init__(self, seed: int) -> None:
        """Torch keeps the low 32 bits of `seed`."""
        self._bits = np.random.RandomState(seed & 0xFFFFFFFF)

    def normal(self, shape: tuple[int, ...]) -> Floats:
        """FP32 of `shape`, which must have at least 16 elements (torch uses another recipe below).

        Raises:
            ValueError: fewer elements.
        """
        count = math.prod(shape)
        if count < _BLOCK:
            raise ValueError(f"noise of shape {list(shape)} has fewer than {_BLOCK} numbers")
        whole = count - count % _BLOCK
        uniform = self._uniform(count)  # the unfilled block's numbers are drawn too, and thrown away
        drawn = np.empty(count, np.float32)
        drawn[:whole] = _box_muller(uniform[:whole])
        if whole < count:
            drawn[-_BLOCK:] = _box_muller(self._uniform(_BLOCK))
        return drawn.reshape(shape)

    def _uniform(self, count: int) -> Floats:
        bits = self._bits.randint(0, 2**32, size=count, dtype=np.uint32)
        return (bits & np.uint32(0xFFFFFF)).astype(np.float32) * _UNIT


def _box_muller(uniform: Floats) -> Floats:
    blocks = uniform.reshape(-1, 2, _HALF)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - blocks[:, 0]))
    angle = _TURN * blocks[:, 1]
    normal: Floats = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)
    return normal

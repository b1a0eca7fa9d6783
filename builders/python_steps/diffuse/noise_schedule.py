"""How much noise there is at each timestep of the training: what all schedulers share. Pure numpy.

Names follow the DDPM paper (Ho et al. 2020): `alphas_cumprod[t]` is the share of signal in the variance at timestep t.
Numbers follow diffusers, which computes them in FP32.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NoiseSchedule:
    """What a checkpoint's `scheduler_config.json` says.

    `prediction`: what the UNet predicts, `epsilon` or `v_prediction`. `spacing`: where steps are placed, `leading`,
    `linspace` or `trailing`; empty leaves it to the scheduler. `ends_at_one`: whether the share of signal after the
    last step is 1, or that of the first timestep; None leaves it to the scheduler.
    """

    alphas_cumprod: Floats
    ends_at_one: bool | None
    prediction: str
    spacing: str
    offset: int

    @property
    def train_steps(self) -> int:
        """Timesteps of the training, usually 1000."""
        return len(self.alphas_cumprod)

    @property
    def sigmas(self) -> Floats:
        """FP32 [train_steps]: noise per signal at each timestep, as Karras et al. 2022 count it."""
        ratio: Floats = np.sqrt((np.float32(1) - self.alphas_cumprod) / self.alphas_cumprod)
        return ratio

    def alpha(self, timestep: int, *, ends_at_one: bool) -> float:
        """The share of signal at `timestep`; before the first one the final share, by `ends_at_one` if it is open."""
        if timestep >= 0:
            return float(self.alphas_cumprod[timestep])
        is_one = ends_at_one if self.ends_at_one is None else self.ends_at_one
        return 1.0 if is_one else float(self.alphas_cumprod[0])

    def spaced(self, steps: int, default: str) -> npt.NDArray[np.float64]:
        """Timesteps from noisy to clean, not yet rounded to whole numbers where `linspace` gives none."""
        spacing = self.spacing or default
        if spacing == "linspace":
            return np.linspace(0, self.train_steps - 1, steps)[::-1]
        if spacing == "leading":
            ratio = self.train_steps // steps
            return (np.arange(steps, dtype=np.float64) * ratio)[::-1] + self.offset
        trailing: npt.NDArray[np.float64] = np.round(np.arange(self.train_steps, 0, -self.train_steps / steps)) - 1
        return trailing


def noise_schedule(config: Mapping[str, Any]) -> NoiseSchedule:
    """Read a checkpoint's configuration; what it leaves out has diffusers' defaults.

    Raises:
        ValueError: betas, predictions or spacings that are not known here.
    """
    steps, kind = int(config.get("num_train_timesteps", 1000)), config.get("beta_schedule", "linear")
    first, last = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    if kind == "linear":
        betas = _linspace(first, last, steps)
    elif kind == "scaled_linear":
        betas = _linspace(first**0.5, last**0.5, steps) ** 2
    else:
        raise ValueError(f"beta_schedule {kind!r} is not linear or scaled_linear")
    prediction, spacing = config.get("prediction_type", "epsilon"), config.get("timestep_spacing", "")
    if prediction not in {"epsilon", "v_prediction"}:
        raise ValueError(f"prediction_type {prediction!r} is not epsilon or v_prediction")
    if spacing not in {"", "leading", "linspace", "trailing"}:
        raise ValueError(f"timestep_spacing {spacing!r} is not leading, linspace or trailing")
    # torch multiplies in FP64 and keeps FP32
    alphas = np.cumprod((np.float32(1) - betas).astype(np.float64)).astype(np.float32)
    return NoiseSchedule(
        alphas_cumprod=alphas,
        ends_at_one=config.get("set_alpha_to_one"),
        prediction=prediction,
        spacing=spacing,
        offset=1,  # Stable Diffusion's pipelines set it to 1 whatever the file says
    )


def _linspace(first: float, last: float, count: int) -> Floats:
    """As torch: in FP32, from both ends to the middle."""
    start, end = np.float32(first), np.float32(last)
    step = np.float32((end - start) / np.float32(count - 1))
    index = np.arange(count, dtype=np.float32)
    values: Floats = np.where(index < count // 2, start + step * index, end - step * (np.float32(count - 1) - index))
    return values.astype(np.float32)

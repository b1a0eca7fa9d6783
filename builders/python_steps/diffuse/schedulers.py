"""The four samplers, in numpy, with diffusers' semantics: how a step goes from one noise level to the next.

A scheduler serves one request and remembers its last steps; every operation is element by element, so an image comes
out the same whatever else is in the batch. Steps are asked for by their position `index` in `timesteps`.

Sources: DDIM (Song et al. 2020), PNDM (Liu et al. 2022; the PLMS variant that Stable Diffusion uses), Euler (Karras et
al. 2022, algorithm 2 without churn), DPM-Solver++ 2M (Lu et al. 2022); diffusers' `DDIMScheduler`, `PNDMScheduler`
(`skip_prk_steps`), `EulerDiscreteScheduler` and `DPMSolverMultistepScheduler` as references.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from .noise_schedule import NoiseSchedule

Floats = npt.NDArray[np.float32]


class Scheduler(Protocol):
    """What the loop needs of a sampler."""

    timesteps: Floats
    """FP32 [evaluations], from noisy to clean: what the UNet is told."""
    initial_scale: float
    """Standard deviation of the latents at the first timestep."""

    def scaled(self, sample: Floats, index: int) -> Floats:
        """The latents as the UNet wants to see them."""
        ...

    def step(self, output: Floats, index: int, sample: Floats) -> Floats:
        """The latents after step `index`, from the UNet's output."""
        ...

    def noisy(self, clean: Floats, noise: Floats, index: int) -> Floats:
        """Clean latents with the noise that belongs to step `index`."""
        ...


class _ByAlpha:
    """What DDIM and PNDM have in common: whole timesteps, and latents of variance 1."""

    initial_scale = 1.0

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        self._schedule = schedule
        self._stride = schedule.train_steps // steps

    def scaled(self, sample: Floats, index: int) -> Floats:
        """Unchanged."""
        del index
        return sample

    def _noisy_at(self, clean: Floats, noise: Floats, timestep: int) -> Floats:
        alpha = float(self._schedule.alphas_cumprod[timestep])
        noisy: Floats = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
        return noisy


class Ddim(_ByAlpha):
    """Deterministic (eta 0), without clipping."""

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        super().__init__(schedule, steps)
        self.timesteps: Floats = schedule.spaced(steps, "leading").round().astype(np.float32)

    def step(self, output: Floats, index: int, sample: Floats) -> Floats:
        """Predict the clean latents, and go back to the noise of the next timestep."""
        now = int(self.timesteps[index])
        alpha = self._schedule.alpha(now, ends_at_one=True)
        alpha_next = self._schedule.alpha(now - self._stride, ends_at_one=True)
        signal, spread = alpha**0.5, (1 - alpha) ** 0.5
        if self._schedule.prediction == "epsilon":
            clean, noise = (sample - spread * output) / signal, output
        else:
            clean, noise = signal * sample - spread * output, signal * output + spread * sample
        following: Floats = alpha_next**0.5 * clean + (1 - alpha_next) ** 0.5 * noise
        return following

    def noisy(self, clean: Floats, noise: Floats, index: int) -> Floats:
        """Noise of the timestep of step `index`."""
        return self._noisy_at(clean, noise, int(self.timesteps[index]))


class Pndm(_ByAlpha):
    """Linear multistep over the last four outputs. The second timestep is evaluated twice: n steps, n + 1 outputs."""

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        super().__init__(schedule, steps)
        rising = schedule.spaced(steps, "leading").round()[::-1]
        self.timesteps: Floats = np.concatenate([rising[:-1], rising[-2:-1], rising[-1:]])[::-1].astype(np.float32)
        self._outputs: list[Floats] = []
        self._first: Floats | None = None
        self._count = 0

    def step(self, output: Floats, index: int, sample: Floats) -> Floats:
        """Extrapolate the outputs; the second call repeats the first step with the mean of both."""
        now = int(self.timesteps[index])
        following = now - self._stride
        if self._count == 1:
            now, following = now + self._stride, now
        else:
            self._outputs = [*self._outputs[-3:], output]
        if self._count == 0:
            self._first = sample
        elif self._count == 1:
            output = (output + self._outputs[-1]) / 2
            assert self._first is not None, "the first step keeps its latents. This is a bug."
            sample, self._first = self._first, None
        else:
            output = self._extrapolated()
        self._count += 1
        return self._moved(sample, now, following, output)

    def noisy(self, clean: Floats, noise: Floats, index: int) -> Floats:
        """Noise of the timestep of step `index`."""
        return self._noisy_at(clean, noise, int(self.timesteps[index]))

    def _extrapolated(self) -> Floats:
        """Adams-Bashforth of the order that the outputs so far allow."""
        last = self._outputs
        combined: Floats
        if len(last) == 2:
            combined = (3 * last[-1] - last[-2]) / 2
        elif len(last) == 3:
            combined = (23 * last[-1] - 16 * last[-2] + 5 * last[-3]) / 12
        else:
            combined = (1 / 24) * (55 * last[-1] - 59 * last[-2] + 37 * last[-3] - 9 * last[-4])
        return combined

    def _moved(self, sample: Floats, now: int, following: int, output: Floats) -> Floats:
        """Formula (9) of the PNDM paper."""
        alpha = self._schedule.alpha(now, ends_at_one=False)
        alpha_next = self._schedule.alpha(following, ends_at_one=False)
        if self._schedule.prediction == "v_prediction":
            output = alpha**0.5 * output + (1 - alpha) ** 0.5 * sample
        divisor = alpha * (1 - alpha_next) ** 0.5 + (alpha * (1 - alpha) * alpha_next) ** 0.5
        moved: Floats = (alpha_next / alpha) ** 0.5 * sample - ((alpha_next - alpha) / divisor) * output
        return moved


class _BySigma:
    """What Euler and DPM-Solver++ have in common: noise levels between the training's, and zero at the end."""

    def __init__(self, schedule: NoiseSchedule, timesteps: Floats) -> None:
        self._prediction = schedule.prediction
        self.timesteps: Floats = timesteps
        levels = np.interp(timesteps, np.arange(schedule.train_steps), schedule.sigmas)
        self._sigmas = [float(level) for level in np.append(levels, 0.0).astype(np.float32)]


class Euler(_BySigma):
    """First-order steps along the noise level. Latents are scaled by it, so the UNet gets them divided."""

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        super().__init__(schedule, schedule.spaced(steps, "linspace").astype(np.float32))
        highest = max(self._sigmas)
        self.initial_scale = (highest**2 + 1) ** 0.5 if schedule.spacing == "leading" else highest

    def scaled(self, sample: Floats, index: int) -> Floats:
        """Divided down to variance 1."""
        scaled: Floats = sample / (self._sigmas[index] ** 2 + 1) ** 0.5
        return scaled

    def step(self, output: Floats, index: int, sample: Floats) -> Floats:
        """One step along the derivative."""
        sigma, following = self._sigmas[index], self._sigmas[index + 1]
        if self._prediction == "epsilon":
            derivative = output
        else:
            clean = output * (-sigma / (sigma**2 + 1) ** 0.5) + sample / (sigma**2 + 1)
            derivative = (sample - clean) / sigma
        moved: Floats = sample + derivative * (following - sigma)
        return moved

    def noisy(self, clean: Floats, noise: Floats, index: int) -> Floats:
        """Noise of the level of step `index`."""
        noisy: Floats = clean + noise * self._sigmas[index]
        return noisy


class DpmSolver(_BySigma):
    """DPM-Solver++ of second order (2M, midpoint); the first and the last step are of first order."""

    initial_scale = 1.0

    def __init__(self, schedule: NoiseSchedule, steps: int) -> None:
        super().__init__(schedule, _dpm_timesteps(schedule, steps))
        self._clean: Floats | None = None

    def scaled(self, sample: Floats, index: int) -> Floats:
        """Unchanged."""
        del index
        return sample

    def step(self, output: Floats, index: int, sample: Floats) -> Floats:
        """Predict the clean latents, and integrate from the last one or two predictions."""
        sigma, following = self._sigmas[index], self._sigmas[index + 1]
        signal, signal_next = _signal(sigma), _signal(following)
        spread, spread_next = sigma * signal, following * signal_next
        if self._prediction == "epsilon":
            clean = (sample - spread * output) / signal
        else:
            clean = signal * sample - spread * output
        before, self._clean = self._clean, clean
        # exp(-h) - 1 of the paper: h is the difference of the logarithms of signal per noise
        gain = signal_next * (following / sigma - 1.0)
        moved: Floats = (spread_next / spread) * sample - gain * clean
        is_last = index == len(self.timesteps) - 1
        if before is None or is_last:
            return moved
        ratio = np.log(self._sigmas[index - 1] / sigma) / np.log(sigma / following)
        corrected: Floats = moved - np.float32(0.5 * gain / ratio) * (clean - before)
        return corrected

    def noisy(self, clean: Floats, noise: Floats, index: int) -> Floats:
        """Noise of the level of step `index`."""
        sigma = self._sigmas[index]
        noisy: Floats = _signal(sigma) * clean + sigma * _signal(sigma) * noise
        return noisy


def _signal(sigma: float) -> float:
    return float((sigma**2 + 1) ** -0.5)


def _dpm_timesteps(schedule: NoiseSchedule, steps: int) -> Floats:
    """DPM-Solver places one step more, and leaves the cleanest out: its last step goes to no noise at all."""
    spacing = schedule.spacing or "linspace"
    if spacing == "linspace":
        placed = np.linspace(0, schedule.train_steps - 1, steps + 1).round()[::-1][:-1]
    elif spacing == "leading":
        ratio = schedule.train_steps // (steps + 1)
        placed = (np.arange(steps + 1, dtype=np.float64) * ratio)[::-1][:-1] + schedule.offset
    else:
        placed = schedule.spaced(steps, spacing)
    return placed.astype(np.float32)


SCHEDULERS: Final[Mapping[str, Callable[[NoiseSchedule, int], Scheduler]]] = MappingProxyType(
    {"ddim": Ddim, "pndm": Pndm, "euler": Euler, "dpm++": DpmSolver}
)
"""By the name that a request gives."""
ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ddimscheduler": "ddim",
        "pndmscheduler": "pndm",
        "plms": "pndm",
        "eulerdiscretescheduler": "euler",
        "dpm-solver++": "dpm++",
        "dpmsolver++": "dpm++",
        "dpmsolvermultistepscheduler": "dpm++",
    }
)
"""What diffusers calls them, and what people write."""


def scheduler_name(written: str) -> str:
    """The name in `SCHEDULERS` that is meant. Raises ValueError, which lists them."""
    name = written.strip().lower()
    name = ALIASES.get(name, name)
    if name not in SCHEDULERS:
        raise ValueError(f"scheduler {written!r} is not known; choose one of {', '.join(SCHEDULERS)}")
    return name

"""The denoising loop of Stable Diffusion: from a wish to images, through models that somebody else runs. No Triton.

Reference: diffusers' StableDiffusionPipeline, StableDiffusionImg2ImgPipeline and StableDiffusionInpaintPipeline, each
for one image and one generator. Every image has a seed and a noise stream of its own and goes through the models by
itself, so it does not depend on what else is asked for: image i of seed s is the only image of seed s + i.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from . import pictures
from .kits import Kit
from .noise import TorchNoise
from .schedulers import SCHEDULERS, Scheduler
from .wishes import Wish

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Models(Protocol):
    """The steps of one checkpoint."""

    def embed(self, text: str) -> Floats:
        """FP32 [1, tokens, width] of a text."""
        ...

    def predict(self, latents: Floats, timestep: float, embeddings: Floats) -> Floats:
        """The UNet: FP32 [batch, channels, h, w] and [batch, tokens, width] to FP32 [batch, latent channels, h, w]."""
        ...

    def encode(self, image: Floats) -> Floats:
        """The VAE's encoder: FP32 [1, 3, height, width] to mean and log variance, FP32 [1, 2 * channels, h, w]."""
        ...

    def decode(self, latents: Floats) -> Floats:
        """The VAE's decoder: FP32 [1, channels, h, w] to FP32 [1, 3, height, width]."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """One step is done. `latents` FP32 [channels, h, w] of the first image, as they are now."""

    step: int
    total: int
    latents: Floats


@dataclass(frozen=True, slots=True)
class Painting:
    """The result: UINT8 [images, height, width, 3]."""

    images: Bytes


@dataclass(slots=True)
class _Canvas:
    """One image on its way. All FP32 [1, ., h, w].

    `condition`: what the inpainting UNet sees beside the latents. `kept`: the image's latents and the mask outside of
    which they are put back, for a UNet that sees neither.
    """

    latents: Floats
    noise: Floats
    kept: tuple[Floats, Floats] | None = None
    condition: Floats | None = None


def paint(wish: Wish, kit: Kit, models: Models) -> Iterator[Progress | Painting]:
    """Yield a Progress after each step, and the Painting at last. Leave the iterator to stop.

    Raises:
        ValueError: nothing is left to do, because `strength` is too small for the number of steps.
    """
    scheduler = SCHEDULERS[wish.scheduler](kit.schedule, wish.steps)
    first = _first_step(wish)
    total = len(scheduler.timesteps) - first
    if wish.steps - first < 1:
        raise ValueError(f"STRENGTH {wish.strength:g} of {wish.steps} STEPS leaves no step to do; raise either")
    embeddings = models.embed(wish.prompt)
    if wish.is_guided:
        embeddings = np.concatenate([models.embed(wish.negative_prompt), embeddings])
    canvases = _prepared(wish, kit, models, scheduler, first)
    latents = np.concatenate([canvas.latents for canvas in canvases])
    for index in range(first, len(scheduler.timesteps)):
        seen = scheduler.scaled(latents, index)
        outputs = [
            _guided(models, seen[place : place + 1], float(scheduler.timesteps[index]), embeddings, canvas, wish)
            for place, canvas in enumerate(canvases)
        ]
        latents = scheduler.step(np.concatenate(outputs), index, latents)
        latents = _kept(latents, canvases, scheduler, index + 1)
        yield Progress(index + 1 - first, total, latents[0])
    images = [models.decode(latents[place : place + 1] / kit.latent_scale) for place in range(len(canvases))]
    yield Painting(np.stack([pictures.from_model(image) for image in images]))


def _first_step(wish: Wish) -> int:
    """How many steps `strength` leaves out."""
    if wish.image is None:
        return 0
    return max(wish.steps - min(int(wish.steps * wish.strength), wish.steps), 0)


def _guided(models: Models, seen: Floats, timestep: float, embeddings: Floats, canvas: _Canvas, wish: Wish) -> Floats:
    """The UNet's output for one image, with classifier-free guidance in one batch of two."""
    if canvas.condition is not None:
        seen = np.concatenate([seen, canvas.condition], axis=1)
    output = models.predict(np.repeat(seen, len(embeddings), axis=0), timestep, embeddings)
    if not wish.is_guided:
        return output
    without, within = output[:1], output[1:]
    guided: Floats = without + wish.guidance * (within - without)
    return guided


def _prepared(wish: Wish, kit: Kit, models: Models, scheduler: Scheduler, first: int) -> list[_Canvas]:
    """The canvases before the first step."""
    if wish.image is None:
        shape = (1, kit.latent_channels, wish.height // kit.shrink, wish.width // kit.shrink)
        noises = [TorchNoise(seed).normal(shape) for seed in wish.seeds]
        return [_Canvas(noise * scheduler.initial_scale, noise) for noise in noises]
    image = pictures.to_model(wish.image, wish.height, wish.width)
    if wish.mask is None:
        moments = models.encode(image)
        return [_redrawn(moments, seed, kit, scheduler, first) for seed in wish.seeds]
    return _masked(wish, kit, models, scheduler, first, image)


def _redrawn(moments: Floats, seed: int, kit: Kit, scheduler: Scheduler, first: int) -> _Canvas:
    stream = TorchNoise(seed)
    clean = _sampled(moments, stream, kit)
    noise = stream.normal(clean.shape)
    return _Canvas(scheduler.noisy(clean, noise, first), noise)


def _masked(wish: Wish, kit: Kit, models: Models, scheduler: Scheduler, first: int, image: Floats) -> list[_Canvas]:
    """Canvases with a mask. The order of the draws is the reference's: image, noise, masked image."""
    assert wish.mask is not None, "only asked with a mask. This is a bug."
    mask = pictures.mask_to_model(wish.mask, wish.height, wish.width)
    small = mask[:, :, :: kit.shrink, :: kit.shrink].astype(np.float32)
    is_conditioned, is_from_noise = kit.channels > kit.latent_channels, wish.strength >= 1
    moments = None if is_conditioned and is_from_noise else models.encode(image)
    hidden = models.encode(np.where(mask, np.float32(0), image)) if is_conditioned else None
    canvases = []
    for seed in wish.seeds:
        stream = TorchNoise(seed)
        clean = None if moments is None else _sampled(moments, stream, kit)
        noise = stream.normal((1, kit.latent_channels, *small.shape[2:]))
        if clean is None or is_from_noise:
            latents = noise * scheduler.initial_scale
        else:
            latents = scheduler.noisy(clean, noise, first)
        canvas = _Canvas(latents, noise)
        if hidden is not None:
            canvas.condition = np.concatenate([small, _sampled(hidden, stream, kit)], axis=1)
        elif clean is not None:
            canvas.kept = (clean, small)
        canvases.append(canvas)
    return canvases


def _sampled(moments: Floats, stream: TorchNoise, kit: Kit) -> Floats:
    """Latents drawn from the VAE's distribution, on the UNet's scale."""
    mean, log_variance = np.split(moments, 2, axis=1)
    spread = np.exp(np.float32(0.5) * np.clip(log_variance, -30, 20))
    sampled: Floats = (mean + spread * stream.normal(mean.shape)) * kit.latent_scale
    return sampled


def _kept(latents: Floats, canvases: list[_Canvas], scheduler: Scheduler, following: int) -> Floats:
    """Put the image back outside the mask, with the noise that step `following` expects."""
    rows = []
    for place, canvas in enumerate(canvases):
        row = latents[place : place + 1]
        if canvas.kept is not None:
            clean, mask = canvas.kept
            if following < len(scheduler.timesteps):
                clean = scheduler.noisy(clean, canvas.noise, following)
            row = (1 - mask) * clean + mask * row
        rows.append(row)
    return np.concatenate(rows)

"""What the entry step knows of its checkpoints: `diffuse.json`, which the builder writes beside it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .noise_schedule import NoiseSchedule, noise_schedule
from .wishes import Limits


@dataclass(frozen=True, slots=True)
class Kit:
    """One checkpoint: the names of its steps, and what the loop must know of them.

    `channels`: of the UNet's input, 4 or 9 (latents, mask, latents of the masked image). `latent_scale`: VAE latents
    times it are the UNet's. `shrink`: pixels per latent, on each side.
    """

    tokenizer: str
    text_encoder: str
    unet: str
    vae_encoder: str
    vae_decoder: str
    channels: int
    latent_channels: int
    latent_scale: float
    shrink: int
    schedule: NoiseSchedule


@dataclass(frozen=True, slots=True)
class Kits:
    """`paint` makes images from nothing and from images, `inpaint` fills masks; one of them may be missing."""

    paint: Kit | None
    inpaint: Kit | None
    limits: Limits

    def for_mask(self, *, has_mask: bool) -> Kit:
        """The checkpoint for a request. Raises ValueError where the archive has none."""
        kit = (self.inpaint or self.paint) if has_mask else self.paint
        if kit is None:
            raise ValueError("this archive only fills masks: send IMAGE and MASK")
        return kit


def read_kits(text: str) -> Kits:
    """Read `diffuse.json`. Raises ValueError where it says something that is not known here."""
    document = json.loads(text)
    kits = {name: _kit(facts) for name, facts in document["kits"].items()}
    return Kits(kits.get("paint"), kits.get("inpaint"), Limits(**document["limits"]))


def _kit(facts: Mapping[str, Any]) -> Kit:
    return Kit(**{**facts, "schedule": noise_schedule(facts["schedule"])})

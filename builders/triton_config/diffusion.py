"""The configs of Stable Diffusion's steps: which tensors each takes and gives. Pure.

The graphs' tensors are described in `builders/export/diffusion.py`, the entry step's in its own `model.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from builders.triton_config import accelerated
from builders.triton_config import model as triton
from builders.triton_config.accelerated import Placement
from builders.triton_config.model import DYNAMIC, Field
from builders.triton_config.profile import Profile, Range, profile_of

MAX_BATCH: Final = 8
"""Rows in one run of a graph. The loop sends one or two; other callers may send more."""
ENTRY_INSTANCES: Final = 4
"""Requests that are painted side by side; they take turns at the UNet, step by step."""
TOKENS: Final = 77
_USUAL_BATCH: Final = 2


@dataclass(frozen=True, slots=True)
class Shapes:
    """What the configs must know of a checkpoint. `multiple`: sides of images are multiples of it."""

    channels: int
    latent_channels: int
    text_width: int
    shrink: int
    multiple: int
    side: int
    max_pixels: int

    @property
    def max_side(self) -> int:
        """The longest side that compiled graphs can take: that of a square of `max_pixels`."""
        return max(self.side, int(self.max_pixels**0.5) // self.multiple * self.multiple)


def tokenizer_config(name: str) -> Any:
    """The tokenizer: the step `tokenize`, padding to CLIP's 77."""
    ids = ("input_ids", "attention_mask", "token_type_ids")
    return triton.step_config(
        name=name,
        backend="python",
        inputs=[Field("INPUT0", "TYPE_STRING", (1,))],
        outputs=[Field(each, "TYPE_INT64", (TOKENS,)) for each in ids],
        max_batch_size=MAX_BATCH,
        parameters={"EXECUTION": "in-process"},
    )


def graph_config(
    part: str, name: str, shapes: Shapes, where: Placement, cache_key: str, graph_level: int | None
) -> tuple[Any, Profile]:
    """The config of a graph's step, and the shapes that a GPU must take ({} on a CPU)."""
    inputs, output = _fields(part, shapes)
    profile: Profile = {}
    if where.target == "gpu":
        profile = profile_of(inputs, MAX_BATCH, _axes(part, shapes), _USUAL_BATCH)
    config = accelerated.graph_config(
        name=name,
        inputs=inputs,
        outputs=[output],
        max_batch_size=MAX_BATCH,
        where=where,
        profile=profile,
        cache_key=cache_key,
        graph_level=graph_level,
    )
    if part == "text_encoder":
        config.response_cache.enable = True  # "" and house styles recur in most requests
    return config, profile


def entry_config(name: str, calls: Sequence[str]) -> Any:
    """The loop: all inputs but the prompt are optional, and it may tell of its progress before it answers."""
    scalar = (1,)
    wishes: Mapping[str, str] = {
        "NEGATIVE_PROMPT": "TYPE_STRING",
        "STEPS": "TYPE_INT32",
        "GUIDANCE": "TYPE_FP32",
        "SEED": "TYPE_INT64",
        "HEIGHT": "TYPE_INT32",
        "WIDTH": "TYPE_INT32",
        "NUM_IMAGES": "TYPE_INT32",
        "SCHEDULER": "TYPE_STRING",
        "STRENGTH": "TYPE_FP32",
        "PROGRESS_EVERY": "TYPE_INT32",
        "PREVIEW_EVERY": "TYPE_INT32",
    }
    return triton.step_config(
        name=name,
        backend="python",
        inputs=[
            Field("PROMPT", "TYPE_STRING", scalar),
            *(Field(wish, kind, scalar, is_optional=True) for wish, kind in wishes.items()),
            Field("IMAGE", "TYPE_UINT8", (DYNAMIC, DYNAMIC, 3), is_optional=True),
            Field("MASK", "TYPE_UINT8", (DYNAMIC, DYNAMIC), is_optional=True),
        ],
        outputs=[
            Field("IMAGES", "TYPE_UINT8", (DYNAMIC, DYNAMIC, DYNAMIC, 3)),
            Field("SEEDS", "TYPE_INT64", (DYNAMIC,)),
            Field("PROGRESS", "TYPE_INT32", (2,)),
            Field("PREVIEW", "TYPE_UINT8", (DYNAMIC, DYNAMIC, 3)),
        ],
        max_batch_size=0,
        parameters={"EXECUTION": "in-process", "CALLS": ",".join(sorted(calls))},
        instances=ENTRY_INSTANCES,
        is_decoupled=True,
    )


def _fields(part: str, shapes: Shapes) -> tuple[list[Field], Field]:
    text = Field("embeddings", "TYPE_FP32", (TOKENS, shapes.text_width))
    image = Field("image", "TYPE_FP32", (3, DYNAMIC, DYNAMIC))
    if part == "text_encoder":
        return [Field("input_ids", "TYPE_INT64", (TOKENS,))], text
    if part == "unet":
        latents = Field("latents", "TYPE_FP32", (shapes.channels, DYNAMIC, DYNAMIC))
        noise = Field("noise", "TYPE_FP32", (shapes.latent_channels, DYNAMIC, DYNAMIC))
        return [latents, Field("timestep", "TYPE_FP32", (1,)), text], noise
    if part == "vae_encoder":
        return [image], Field("moments", "TYPE_FP32", (2 * shapes.latent_channels, DYNAMIC, DYNAMIC))
    return [Field("latents", "TYPE_FP32", (shapes.latent_channels, DYNAMIC, DYNAMIC))], image


def _axes(part: str, shapes: Shapes) -> dict[str, list[Range]]:
    """Ranges of the dynamic axes."""
    unit = 1 if part == "vae_encoder" else shapes.shrink
    side = Range(shapes.multiple // unit, shapes.side // unit, shapes.max_side // unit)
    if part == "text_encoder":
        return {}
    return {"image" if part == "vae_encoder" else "latents": [side, side]}

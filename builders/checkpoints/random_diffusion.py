"""Stable Diffusion with seeded random weights: the real architecture for tests and demos, where no weights are at hand.

Equal seeds give equal text encoders and VAEs for both kinds of UNet, as the published checkpoints have it.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from builders.checkpoints.diffusers_folder import DiffusionCheckpoint
from builders.checkpoints.small_clip_vocabulary import merges, vocabulary
from builders.pipeline.extras import need

Size: TypeAlias = Literal["tiny", "sd15"]
SIZES: Final = ("tiny", "sd15")

_SCHEDULE: Final[Mapping[str, Any]] = {
    "_class_name": "PNDMScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "clip_sample": False,
}
"""As Stable Diffusion 1.5 has it."""

_CROSS_DOWN, _CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
_UNET: Final[Mapping[Size, Mapping[str, Any]]] = {
    "tiny": {
        "sample_size": 8,
        "layers_per_block": 1,
        "block_out_channels": (16, 32),
        "norm_num_groups": 4,
        "down_block_types": (_CROSS_DOWN, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", _CROSS_UP),
        "cross_attention_dim": 32,
        "attention_head_dim": 4,
    },
    "sd15": {
        "sample_size": 64,
        "layers_per_block": 2,
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": (_CROSS_DOWN, _CROSS_DOWN, _CROSS_DOWN, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", _CROSS_UP, _CROSS_UP, _CROSS_UP),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
}
_VAE: Final[Mapping[Size, Mapping[str, Any]]] = {
    "tiny": {"block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4, "layers_per_block": 1, "sample_size": 64},
    "sd15": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 512},
}
_TEXT: Final[Mapping[Size, Mapping[str, Any]]] = {
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
    "sd15": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
}
_VOCABULARY: Final[Mapping[Size, int]] = {"tiny": 1000, "sd15": 49408}
_MAX_TOKENS: Final = 77


def random_checkpoint(size: Size, seed: int, *, channels: int = 4) -> DiffusionCheckpoint:
    """A checkpoint whose UNet takes `channels` (4, or 9 for inpainting); its parts are made when they are loaded."""
    kind = "" if channels == 4 else "-inpainting"
    return DiffusionCheckpoint(
        name=f"random {size}{kind}, seed {seed}",
        licence="none",
        schedule=_SCHEDULE,
        load=lambda part: _make(part, size, seed, channels),
    )


def _make(part: str, size: Size, seed: int, channels: int) -> Any:
    torch = need("torch")
    if part == "tokenizer":
        return need("transformers").CLIPTokenizer(vocab=vocabulary(), merges=merges(), model_max_length=_MAX_TOKENS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + {"text_encoder": 0, "vae": 1, "unet": 2 + channels}[part])
        module = _module(part, size, channels)
    return module.float().eval()


def _module(part: str, size: Size, channels: int) -> Any:
    diffusers, transformers = need("diffusers"), need("transformers")
    if part == "unet":
        return diffusers.UNet2DConditionModel(in_channels=channels, out_channels=4, **_UNET[size])
    if part == "vae":
        blocks = len(_VAE[size]["block_out_channels"])
        return diffusers.AutoencoderKL(
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * blocks,
            up_block_types=("UpDecoderBlock2D",) * blocks,
            **_VAE[size],
        )
    words = vocabulary()
    config = transformers.CLIPTextConfig(
        vocab_size=_VOCABULARY[size],
        max_position_embeddings=_MAX_TOKENS,
        bos_token_id=words["<|startoftext|>"],
        eos_token_id=words["<|endoftext|>"],
        pad_token_id=words["<|endoftext|>"],
        **_TEXT[size],
    )
    return transformers.CLIPTextModel(config)

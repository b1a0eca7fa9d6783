"""Archives that differ in every number: each answers with a matrix that only it has, and carries weights of a set size."""

from pathlib import Path

import numpy as np

from server.archive.pack import pack
from server.domain.inference import Array
from tests.fakes.repositories import linear_weights, onnx_linear

FEATURES, OUTPUTS = 4, 2
MODEL = Path("linear", "1", "model.onnx")


def write_archive(folder: Path, seed: int, weight_bytes: int) -> Path:
    """A new archive folder with one ONNX model."""
    onnx_linear(folder / "linear", features=FEATURES, outputs=OUTPUTS, seed=seed, ballast_bytes=weight_bytes)
    return folder


def replace_model(folder: Path, seed: int, weight_bytes: int) -> None:
    """Give an archive folder another model: written beside it, then renamed over the old one's file."""
    beside = write_archive(folder.parent.parent / f"beside-{folder.name}-{seed}", seed, weight_bytes)
    (beside / MODEL).replace(folder / MODEL)


def write_packed(file: Path, seed: int, weight_bytes: int) -> Path:
    """A packed archive, which takes the place of one that is there by renaming."""
    beside = file.parent.parent / f"beside-{seed}-{file.name}"
    pack(write_archive(beside.with_name(f"{beside.name}.folder"), seed, weight_bytes), beside)
    beside.replace(file)
    return file


def expected(inputs: Array, seed: int) -> Array:
    """The right answer: FP32 [batch, OUTPUTS] for FP32 [batch, FEATURES]."""
    answer: Array = inputs @ linear_weights(FEATURES, OUTPUTS, seed)
    return answer


def inputs_of(seed: int, rows: int = 1) -> Array:
    """Some inputs: FP32 [rows, FEATURES]."""
    return np.random.default_rng(seed).standard_normal((rows, FEATURES)).astype(np.float32)

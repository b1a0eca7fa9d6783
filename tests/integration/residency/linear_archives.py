"""Archives that differ in every number: each answers with a matrix that only it has, and carries weights of a set size."""

import shutil
from pathlib import Path

import numpy as np

from server.domain.inference import Array
from tests.fakes.repositories import linear_weights, onnx_linear

FEATURES, OUTPUTS = 4, 2


def write_archive(folder: Path, seed: int, weight_bytes: int) -> Path:
    """One archive folder with one ONNX model; it replaces what is there by renaming, as the store asks for."""
    beside = folder.with_name(f".{folder.name}-{seed}")
    onnx_linear(beside / "linear", features=FEATURES, outputs=OUTPUTS, seed=seed, ballast_bytes=weight_bytes)
    if folder.exists():
        old = folder.with_name(f".{folder.name}-old")
        folder.rename(old)
        beside.rename(folder)
        shutil.rmtree(old)
    else:
        beside.rename(folder)
    return folder


def expected(inputs: Array, seed: int) -> Array:
    """The right answer: FP32 [batch, OUTPUTS] for FP32 [batch, FEATURES]."""
    answer: Array = inputs @ linear_weights(FEATURES, OUTPUTS, seed)
    return answer


def inputs_of(seed: int, rows: int = 1) -> Array:
    """Some inputs: FP32 [rows, FEATURES]."""
    return np.random.default_rng(seed).standard_normal((rows, FEATURES)).astype(np.float32)

"""BERT-like encoders and classification heads with seeded random weights, and what they compute, in numpy.

The reference and the graphs (`graphs.py`) are written from the same weights and share no code that computes.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int64]

EPSILON: Final = 1e-5
GELU: Final = (0.7978845608028654, 0.044715)
"""Of the tanh form: sqrt(2 / pi), and the factor of the cube."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of an encoder and its heads. The defaults make 3.8 MB of weights."""

    vocabulary: int = 1024
    tokens: int = 16
    layers: int = 4
    width: int = 128
    attention_heads: int = 4
    classes: int = 8

    def weight_bytes(self) -> int:
        """Bytes of an encoder's weights."""
        return sum(array.nbytes for array in encoder_weights(self, (0,)).values())


def encoder_weights(shape: Shape, seed: tuple[int, ...]) -> dict[str, Floats]:
    """The weights of one base by name; equal seeds give equal weights."""
    rng = np.random.default_rng(seed)
    width, wide = shape.width, 4 * shape.width

    def matrix(rows: int, columns: int, scale: float = 1.0) -> Floats:
        return (rng.standard_normal((rows, columns), np.float32) * np.float32(scale)).astype(np.float32)

    weights = {"tokens": matrix(shape.vocabulary, width), "positions": matrix(shape.tokens, width, 0.3)}
    for layer in range(shape.layers):
        sizes = {
            "query": (width, width),
            "key": (width, width),
            "value": (width, width),
            "mix": (width, width),
            "up": (width, wide),
            "down": (wide, width),
        }
        for name, (rows, columns) in sizes.items():
            weights[f"{layer}.{name}"] = matrix(rows, columns, rows**-0.5)
            weights[f"{layer}.{name}.bias"] = matrix(1, columns, 0.1)[0]
        for norm in ("first", "second"):
            weights[f"{layer}.{norm}.scale"] = 1 + matrix(1, width, 0.1)[0]
            weights[f"{layer}.{norm}.bias"] = matrix(1, width, 0.1)[0]
    return weights


def head_weights(shape: Shape, seed: tuple[int, ...]) -> dict[str, Floats]:
    """The weights of one head by name."""
    rng = np.random.default_rng(seed)
    scale = np.float32(2.5 * shape.width**-0.5)
    return {
        "head": rng.standard_normal((shape.width, shape.classes), np.float32) * scale,
        "head.bias": rng.standard_normal(shape.classes, np.float32),
    }


def embed(shape: Shape, weights: dict[str, Floats], ids: Ids) -> Floats:
    """Embeddings FP32 [n, width] of token ids INT64 [n, tokens]: the mean over the last layer's tokens."""
    x = weights["tokens"][ids] + weights["positions"]
    for layer in range(shape.layers):
        one = {name.partition(".")[2]: array for name, array in weights.items() if name.startswith(f"{layer}.")}
        x = _normalise(x + _attend(shape, one, x), one["first.scale"], one["first.bias"])
        hidden = _gelu(x @ one["up"] + one["up.bias"])
        x = _normalise(x + hidden @ one["down"] + one["down.bias"], one["second.scale"], one["second.bias"])
    return np.asarray(x.mean(axis=1), np.float32)


def score(weights: dict[str, Floats], embeddings: Floats) -> Floats:
    """Scores FP32 [n, classes] that sum to one."""
    return _softmax(embeddings @ weights["head"] + weights["head.bias"])


def _attend(shape: Shape, one: dict[str, Floats], x: Floats) -> Floats:
    def split(name: str) -> Floats:
        each = (x @ one[name] + one[f"{name}.bias"]).reshape(len(x), shape.tokens, shape.attention_heads, -1)
        return each.transpose(0, 2, 1, 3)

    query, key, value = split("query"), split("key"), split("value")
    weighed = _softmax(query @ key.transpose(0, 1, 3, 2) * np.float32(query.shape[-1] ** -0.5)) @ value
    joined = weighed.transpose(0, 2, 1, 3).reshape(x.shape)
    return np.asarray(joined @ one["mix"] + one["mix.bias"])


def _normalise(x: Floats, scale: Floats, bias: Floats) -> Floats:
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(EPSILON))
    return np.asarray(centred / spread * scale + bias)


def _gelu(x: Floats) -> Floats:
    factor, cube = GELU
    return np.asarray(x * np.float32(0.5) * (1 + np.tanh(np.float32(factor) * (x + np.float32(cube) * x**3))))


def _softmax(x: Floats) -> Floats:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))

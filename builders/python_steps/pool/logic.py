"""Token embeddings to sentence embeddings. Pure numpy, no Triton.

Pooling follows sentence-transformers' `Pooling` module, normalisation its `Normalize` module (L2, eps 1e-12).
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def pool(tokens: Floats, mask: npt.NDArray[np.int64], mode: str) -> Floats:
    """Pool FP32 [batch, sequence, width] to [batch, width]; padded positions (mask 0) do not count.

    Raises:
        ValueError: a mode that is not mean, cls or max.
    """
    if mode == "cls":
        return tokens[:, 0]
    weights = mask[:, :, None].astype(np.float32)
    if mode == "mean":
        pooled: Floats = (tokens * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-9)
        return pooled
    if mode == "max":
        highest: Floats = np.where(weights > 0, tokens, np.float32(-1e9)).max(axis=1)
        return highest
    raise ValueError(f"pooling mode {mode!r} is not one of mean, cls, max")


def normalize(vectors: Floats) -> Floats:
    """Scale each row to length 1."""
    scaled: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return scaled

"""Proof that an archive computes what its reference computes; a build that cannot give it fails."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import click
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from builders.checkpoints.sentence_transformers import SentenceCheckpoint, weights_sha256
from builders.pipeline.extras import need
from builders.pipeline.versions import made_with
from builders.python_steps.pool import logic as pool_logic
from builders.python_steps.tokenize import logic as tokenize_logic

MAX_ERROR = 1e-4
MIN_COSINE = 0.98
MIN_COSINE_FP16 = 0.999

PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "",
    "a",
    "Ein Rundlokschuppen hält viele Lokomotiven um eine Drehscheibe bereit.",
    "機関庫には多くの機関車がある。 🚂",
    "Numbers 1,234.56 and symbols #@!? \t tabs\nnewlines",
    "word " * 600,
    "How many models can one GPU host serve if most of them are idle most of the time?",
)
"""Lengths from nothing to over every limit, scripts, symbols: where tokenizers and truncation go wrong."""


class ParityFailed(click.ClickException):
    """The archive does not compute what the reference computes; the text has the figures."""


Encoder: TypeAlias = Callable[[list[str]], npt.NDArray[np.float32]]
"""Texts to FP32 [len(texts), width], padded as one batch."""


def encoder(tokenizer: Path, graph: Path, pooling: tuple[str, bool] | None) -> Encoder:
    """The archive's steps by hand. `pooling` = (mode, is_normalized) for three steps."""
    loaded = tokenize_logic.load(tokenizer.parent)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # two sessions take turns, often
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def encode(texts: list[str]) -> npt.NDArray[np.float32]:
        ids, mask, types = tokenize_logic.tokenize(loaded, texts)
        (result,) = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
        if pooling is not None:
            result = pool_logic.pool(result, mask, pooling[0])
            result = pool_logic.normalize(result) if pooling[1] else result
        vectors: npt.NDArray[np.float32] = result
        return vectors

    return encode


def embed(tokenizer: Path, graph: Path, texts: list[str], pooling: tuple[str, bool] | None) -> npt.NDArray[np.float32]:
    """Run the archive's steps by hand, once: FP32 [len(texts), width]."""
    return encoder(tokenizer, graph, pooling)(texts)


def check_embeddings(
    reference: Path,
    tokenizer: Path,
    graph: Path,
    pooling: tuple[str, bool] | None,
    *,
    is_exact: bool,
    min_cosine: float = MIN_COSINE,
) -> dict[str, Any]:
    """Compare with sentence-transformers on `PROBES`, as one padded batch and text by text; returns the figures.

    Raises:
        ParityFailed: error above 1e-4 (exact), or cosine below `min_cosine` (otherwise).
    """
    library = need("sentence_transformers")
    model = library.SentenceTransformer(str(reference), device="cpu")
    expected = model.encode(list(PROBES), convert_to_numpy=True)
    encode = encoder(tokenizer, graph, pooling)
    batched = encode(list(PROBES))
    single = np.concatenate([encode([text]) for text in PROBES])
    error = float(max(np.abs(batched - expected).max(), np.abs(single - expected).max()))
    cosines = (batched * expected).sum(1) / (np.linalg.norm(batched, axis=1) * np.linalg.norm(expected, axis=1))
    cosine = float(cosines.min())
    if is_exact and error > MAX_ERROR:
        raise ParityFailed(
            f"the archive differs from sentence-transformers by {error:.2e}; at most {MAX_ERROR} is allowed"
        )
    if cosine < min_cosine:
        raise ParityFailed(
            f"the archive's vectors have cosine {cosine:.4f} with the reference; at least {min_cosine} is asked"
        )
    return {
        "reference": f"sentence-transformers {version('sentence-transformers')}",
        "probes": len(PROBES),
        "max_abs_error": float(f"{error:.3g}"),
        "min_cosine": round(cosine, 6),
    }


def provenance(checkpoint: SentenceCheckpoint, options: dict[str, Any]) -> dict[str, Any]:
    """Where an archive comes from: model, weights, licence, options, versions of what made it."""
    return {
        "model": checkpoint.name,
        "weights_sha256": weights_sha256(checkpoint.folder),
        "licence": checkpoint.licence,
        "max_length": checkpoint.max_length,
        "pooling": checkpoint.pooling,
        "is_normalized": checkpoint.is_normalized,
        "options": options,
        "made_with": made_with("torch", "transformers", "tokenizers", "onnx", "onnxruntime"),
    }

"""What a smaller precision costs: an archive's vectors beside those of the same graph in FP32, on many texts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from builders.pipeline.parity import Encoder, ParityFailed
from builders.pipeline.sentences import texts
from builders.python_steps.tokenize import logic as tokenize_logic

Floats = npt.NDArray[np.float32]
TEXTS: Final = {"int8": 1000, "fp16": 200}
"""How many are compared. In fp16 a CPU casts every operator to fp32 and back."""
MIN_COSINE: Final = {"int8": 0.985, "fp16": 0.999}
"""Of every single text; an archive below it is not built."""
MOST_FROM_NEIGHBOURS: Final = 1e-3
"""What the same text's vector may differ by, alone and in a batch. Rounding gives 1e-6; a scale that is taken over the
whole batch gives 1e-2 and more."""
_BATCH: Final = 8
_SAMPLES: Final = 64
_SAMPLES_SEED: Final = 2
_ALONE_EACH: Final = 20
"""Every so many texts one is also run by itself."""


def vocabulary(tokenizer: Path) -> list[str]:
    """A tokenizer's pieces, by their numbers."""
    numbers: dict[str, int] = tokenize_logic.load(tokenizer.parent).get_vocab()
    return sorted(numbers, key=numbers.__getitem__)


def token_samples(tokenizer: Path, names: Sequence[str]) -> Iterator[dict[str, npt.NDArray[np.int64]]]:
    """Inputs `names` (ids, mask, types) of an encoder on which quantisation looks at activations.

    Not the texts that the outcome is judged on.
    """
    loaded = tokenize_logic.load(tokenizer.parent)
    for batch in _batches(sorted(texts(_SAMPLES, vocabulary(tokenizer), seed=_SAMPLES_SEED), key=len)):
        yield dict(zip(names, tokenize_logic.tokenize(loaded, batch), strict=True))


def check_precision(precision: str, encoder: Encoder, exact: Encoder, pieces: list[str], count: int) -> dict[str, Any]:
    """Compare `encoder` with its FP32 form `exact` on made-up texts; returns figures for the manifest.

    Raises:
        ParityFailed: a text's cosine is below `MIN_COSINE`, or an answer depends on what it was batched with.
    """
    sample = sorted(texts(count, pieces), key=len)  # batches of like lengths pad little
    found, expected = _vectors(encoder, sample), _vectors(exact, sample)
    cosines = _cosines(found, expected)
    alone = np.concatenate([encoder(sample[at : at + 1]) for at in range(0, count, _ALONE_EACH)])
    moved = float(np.abs(alone - found[::_ALONE_EACH]).max() / np.abs(found).max())
    least, mean = float(cosines.min()), float(cosines.mean())
    if not least >= MIN_COSINE[precision]:  # NaN fails too
        worst = sample[int(np.nanargmin(np.where(np.isnan(cosines), -1, cosines)))]
        raise ParityFailed(
            f"in {precision} the vector of one of {count} texts has cosine {least:.4f} with the one in fp32 (mean "
            f"{mean:.4f}); at least {MIN_COSINE[precision]} is asked. This checkpoint does not bear {precision}: build "
            f"it in fp32. The text: {worst[:80]!r}"
        )
    if not moved <= MOST_FROM_NEIGHBOURS:
        raise ParityFailed(
            f"in {precision} a text's vector moves by {moved:.1e} with the texts beside it; at most "
            f"{MOST_FROM_NEIGHBOURS} is allowed, since requests are batched"
        )
    return {
        "texts": count,
        "min_cosine": round(least, 6),
        "mean_cosine": round(mean, 6),
        "allowed_min_cosine": MIN_COSINE[precision],
        "moved_by_neighbours": float(f"{moved:.1e}"),
    }


def _vectors(encoder: Encoder, sample: list[str]) -> Floats:
    return np.concatenate([encoder(batch) for batch in _batches(sample)])


def _batches(sample: list[str]) -> Iterator[list[str]]:
    for at in range(0, len(sample), _BATCH):
        yield sample[at : at + _BATCH]


def _cosines(one: Floats, other: Floats) -> Floats:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines: Floats = (one * other).sum(axis=1) / lengths
    return cosines

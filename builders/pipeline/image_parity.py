"""Proof that an image archive computes what torch and Pillow compute; a build that cannot give it fails."""

import math
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image

from builders.checkpoints.image_classifier import ImageClassifier
from builders.export.dali_pipeline import Preprocessing
from builders.pipeline.extras import need
from builders.pipeline.parity import ParityFailed
from builders.pipeline.pictures import decoded, probe_pictures
from builders.pipeline.run_dali import run_dali

Floats: TypeAlias = npt.NDArray[np.float32]

MAX_LOGIT_ERROR = 1e-4
"""Of log-probabilities on the same tensor, relative to the largest."""
MAX_MEAN_LEVELS = 0.5
"""Mean difference of DALI's pixels from Pillow's, in grey levels of 255."""
MAX_PROBABILITY_ERROR = 0.1
"""End to end: what those pixels may do to a probability."""
_MARGIN = 0.1
"""Two classes whose probabilities lie closer may change places."""

_RESAMPLING = {
    "linear": Image.Resampling.BILINEAR,
    "cubic": Image.Resampling.BICUBIC,
    "lanczos3": Image.Resampling.LANCZOS,
}


def preprocessed(picture: bytes, how: Preprocessing) -> Floats:
    """What Pillow makes of an encoded picture: FP32 [side, side, 3]."""
    image = decoded(picture)
    resampling = _RESAMPLING[how.interpolation]
    if how.shorter_side is None:
        image = image.resize((how.size, how.size), resampling)
    else:
        scale = how.shorter_side / min(image.size)
        image = image.resize((_rounded(image.width * scale), _rounded(image.height * scale)), resampling)
        left, top = (_rounded((side - how.size) / 2) for side in image.size)
        image = image.crop((left, top, left + how.size, top + how.size))
    pixels = np.asarray(image, np.float32)
    return (pixels - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)


def check_classifier(
    classifier: ImageClassifier, graph: Path, pipeline: Path, *, source: str, has_background: bool
) -> dict[str, Any]:
    """Compare tensors, log-probabilities and answers on drawn pictures; returns the figures.

    `pipeline` is the serialized preprocessing, for the CPU.

    Raises:
        ParityFailed: one of the limits above is crossed.
    """
    pictures = probe_pictures()
    expected = np.stack([preprocessed(picture, classifier.preprocessing) for picture in pictures.values()])
    tensors = np.stack([outputs[0] for outputs in run_dali(pipeline, source, list(pictures.values()))])
    levels = float(np.abs(tensors - expected).mean() * np.mean(classifier.preprocessing.std))
    reference = _reference(classifier, tensors)
    scores = _scores(graph, tensors, has_background=has_background)
    error = float(np.abs(np.log(scores) - reference).max() / np.abs(reference).max())
    wanted = np.exp(_reference(classifier, expected))
    difference = float(np.abs(scores - wanted).max())
    changed = [name for name, ours, theirs in zip(pictures, scores, wanted, strict=True) if _differ(ours, theirs)]
    for figure, limit, words in (
        (error, MAX_LOGIT_ERROR, "log-probabilities differ from torch's by"),
        (levels, MAX_MEAN_LEVELS, "pixels differ from Pillow's by grey levels of"),
        (difference, MAX_PROBABILITY_ERROR, "probabilities differ from those of Pillow and torch by"),
    ):
        if not figure <= limit:
            raise ParityFailed(f"{words} {figure:.2e}; at most {limit:g} is allowed")
    if changed:
        raise ParityFailed(f"the first class differs from that of Pillow and torch on {', '.join(changed)}")
    return {
        "reference": "torch's module on pictures that Pillow decodes and resizes",
        "pictures": len(pictures),
        "max_log_probability_error": float(f"{error:.3g}"),
        "mean_grey_level_error": round(levels, 4),
        "max_probability_error": round(difference, 5),
    }


def _rounded(side: float) -> int:
    return math.floor(side + 0.5)  # halves go up, as in DALI


def _reference(classifier: ImageClassifier, tensors: Floats) -> Floats:
    torch = need("torch")
    with torch.no_grad():
        logits = classifier.module(torch.from_numpy(tensors).permute(0, 3, 1, 2).contiguous())
    found: Floats = logits.double().log_softmax(1).numpy()
    return found


def _scores(graph: Path, tensors: Floats, *, has_background: bool) -> Floats:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {session.get_inputs()[0].name: tensors})
    found: Floats = scores
    if has_background and found[:, 0].any():
        raise ParityFailed("the background class has a probability; it must be 0")
    return found[:, 1:] if has_background else found


def _differ(ours: Floats, theirs: Floats) -> bool:
    return bool(theirs.max() - theirs[ours.argmax()] > _MARGIN)

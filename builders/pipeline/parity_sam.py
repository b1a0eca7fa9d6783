"""Proof that a Segment Anything archive masks what `SamPredictor` masks; a build that cannot give it fails.

Compared on drawn pictures of two shapes with every kind of prompt: the graphs on the reference's own preprocessing,
where nothing but rounding may differ, and the whole from the encoded picture on, where DALI resizes instead of Pillow.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from builders.checkpoints.segment_anything import SamCheckpoint, library
from builders.pipeline.extras import need
from builders.pipeline.parity import ParityFailed
from builders.pipeline.run_dali import run_dali
from builders.python_steps.segment import prompts, upscale

MAX_LOGIT_ERROR: Final = 1e-4
"""Of the largest logit; FP32 graphs differ by rounding only."""
MIN_AGREEMENT: Final = 0.999
"""Share of the masks' pixels, on the reference's own preprocessing."""
MIN_AGREEMENT_WHOLE: Final = 0.98
"""The same from the encoded picture on. Random weights draw masks with long, undecided edges."""

_SIZES: Final = ((240, 320), (333, 200))
Array = npt.NDArray[Any]


@dataclass(slots=True)
class _Found:
    """The worst of all comparisons so far."""

    embedding_error: float = 0.0
    logit_error: float = 0.0
    iou_error: float = 0.0
    agreements: list[float] = field(default_factory=list)
    whole_agreements: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SamGraphs:
    """The archive's files. `preprocess` is None where the pipeline cannot run here (it decodes on a GPU)."""

    encoder: Path
    decoder: Path
    preprocess: Path | None


def check_masks(checkpoint: SamCheckpoint, graphs: SamGraphs) -> dict[str, Any]:
    """Compare with `SamPredictor`; returns the figures for the manifest.

    Raises:
        ParityFailed: logits differ by more than 1e-4, or fewer than 99.9 % of the masks' pixels agree (98 % from the
            encoded picture on).
    """
    encoder, decoder = _session(graphs.encoder), _session(graphs.decoder)
    predictor = library().SamPredictor(checkpoint.model)
    found = _Found()
    for index, (height, width) in enumerate(_SIZES):
        picture = drawn_picture(height, width, seed=index)
        predictor.set_image(picture)
        embedding = _embedding(encoder, _preprocessed(checkpoint, predictor, picture))
        features = predictor.features.numpy()
        found.embedding_error = max(found.embedding_error, _relative_error(embedding, features))
        from_file = None
        if graphs.preprocess is not None:
            ((pixels, _size),) = run_dali(graphs.preprocess, "IMAGE", [_png(picture)])
            from_file = _embedding(encoder, pixels[None])
        _compare(predictor, decoder, embedding, from_file, found, is_first=index == 0)
    return _judged(found)


def drawn_picture(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """UINT8 [height, width, 3]: a gradient, a disc, a box, and some noise. The same for the same seed."""
    rows, columns = np.mgrid[0:height, 0:width]
    picture = np.stack([rows / height, columns / width, 0.5 + 0 * rows], axis=2) * 200
    disc = (rows - height * 0.4) ** 2 + (columns - width * 0.35) ** 2 < (min(height, width) * 0.25) ** 2
    picture[disc] = (220, 60, 40)
    picture[height * 6 // 10 : height * 9 // 10, width * 5 // 10 : width * 9 // 10] = (30, 90, 200)
    noise = np.random.default_rng(seed).normal(0, 6, picture.shape)
    drawn: npt.NDArray[np.uint8] = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return drawn


def _compare(
    predictor: Any, decoder: Any, embedding: Array, from_file: Array | None, found: _Found, *, is_first: bool
) -> None:
    height, width = predictor.original_size
    earlier: Array | None = None
    for index, prompt in enumerate(_prompts(height, width)):
        is_multimask = (index % 2 == 0) == is_first
        chosen = slice(1, 4) if is_multimask else slice(0, 1)
        masks, iou, low_res = predictor.predict(
            prompt.points,
            prompt.labels,
            prompt.box,
            None if earlier is None else earlier[None],
            multimask_output=is_multimask,
        )
        with_mask = prompts.Prompt(prompt.points, prompt.labels, prompt.box, earlier)
        logits, scores = _decoded(decoder, embedding, with_mask, height, width)
        found.logit_error = max(found.logit_error, _relative_error(logits[chosen], low_res))
        found.iou_error = max(found.iou_error, _relative_error(scores[chosen], iou))
        found.agreements.append(_agreement(logits[chosen], masks))
        if from_file is not None:
            logits, _ = _decoded(decoder, from_file, with_mask, height, width)
            found.whole_agreements.append(_agreement(logits[chosen], masks))
        earlier = low_res[0] if earlier is None else None


def _prompts(height: int, width: int) -> Sequence[prompts.Prompt]:
    """A click, two clicks, a box, clicks and a box; every second one together with an earlier mask."""
    click = np.array([[width * 0.35, height * 0.4]])
    clicks = np.array([[width * 0.7, height * 0.75], [3.0, 4.5]])
    box = np.array([width * 0.4, height * 0.5, width * 0.95, height * 0.95])
    return (
        prompts.Prompt(click, np.array([1])),
        prompts.Prompt(clicks, np.array([1, 0])),
        prompts.Prompt(box=box),
        prompts.Prompt(clicks, np.array([1, 0]), box),
    )


def _judged(found: _Found) -> dict[str, Any]:
    agreement = min(found.agreements)
    figures: dict[str, Any] = {
        "reference": f"SamPredictor of segment-anything {version('segment-anything')}",
        "probes": len(found.agreements),
        "max_embedding_error": float(f"{found.embedding_error:.3g}"),
        "max_logit_error": float(f"{found.logit_error:.3g}"),
        "max_iou_error": float(f"{found.iou_error:.3g}"),
        "min_mask_agreement": round(agreement, 6),
    }
    if found.logit_error > MAX_LOGIT_ERROR or agreement < MIN_AGREEMENT:
        raise ParityFailed(
            f"the archive's mask logits differ from SamPredictor's by {found.logit_error:.2e} of the largest (at most "
            f"{MAX_LOGIT_ERROR} is allowed); {agreement:.4%} of the masks' pixels agree (at least {MIN_AGREEMENT:.1%})"
        )
    if found.whole_agreements:
        whole = min(found.whole_agreements)
        figures["min_mask_agreement_from_encoded_picture"] = round(whole, 6)
        if whole < MIN_AGREEMENT_WHOLE:
            raise ParityFailed(
                f"from the encoded picture on, {whole:.4%} of the masks' pixels agree with SamPredictor's; "
                f"at least {MIN_AGREEMENT_WHOLE:.1%} is asked"
            )
    return figures


def _preprocessed(checkpoint: SamCheckpoint, predictor: Any, picture: Array) -> Array:
    torch = need("torch")
    resized = torch.as_tensor(predictor.transform.apply_image(picture)).permute(2, 0, 1)[None]
    pixels: Array = checkpoint.model.preprocess(resized).numpy()
    return pixels


def _embedding(encoder: Any, pixels: Array) -> Array:
    embedding: Array = encoder.run(None, {"image": pixels})[0]
    return embedding


def _decoded(decoder: Any, embedding: Array, prompt: prompts.Prompt, height: int, width: int) -> tuple[Array, Array]:
    asked = prompts.question(prompt, height, width)
    feeds: Mapping[str, Array] = {
        "image_embeddings": embedding,
        "point_coords": asked.points,
        "point_labels": asked.labels,
        "mask_input": asked.mask,
        "has_mask_input": asked.has_mask,
    }
    logits, scores = decoder.run(["low_res_masks", "iou_predictions"], dict(feeds))
    return logits[0], scores[0]


def _agreement(logits: Array, masks: Array) -> float:
    size = (int(masks.shape[1]), int(masks.shape[2]))
    ours = upscale.masks(logits, prompts.encoder_size(*size), size)
    return float((ours == masks).mean())


def _relative_error(ours: Array, reference: Array) -> float:
    return float(np.abs(ours - reference).max() / max(np.abs(reference).max(), 1e-6))


def _session(graph: Path) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def _png(picture: Array) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()

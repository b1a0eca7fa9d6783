"""Segment Anything (SAM): a picture and prompts in, masks out.

    segment (Python, BLS)  -> embed (ensemble, answers kept) -> preprocess (DALI) -> encoder (ONNX)
                           -> decoder (ONNX)

The encoder takes nearly all of the time, and sees nothing but the picture. `embed` therefore asks for a response cache:
a second prompt on the same picture costs the decoder only. Reference: `SamPredictor` of the segment-anything package.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from builders.checkpoints import segment_anything as checkpoints
from builders.checkpoints.segment_anything import SamCheckpoint, Size
from builders.compile.archive_plans import compile_steps, require_compiler
from builders.compile.tensorrt_plan import PlanOptions
from builders.export import dali_pipeline, dali_sam, optimise, sam
from builders.pipeline import folder as pipeline
from builders.pipeline.content_key import content_key
from builders.pipeline.measure_graph import MeasuredGraph, measure_graph
from builders.pipeline.parity_sam import SamGraphs, check_masks
from builders.pipeline.progress import stage
from builders.pipeline.versions import made_with
from builders.triton_config import accelerated
from builders.triton_config import model as triton
from builders.triton_config.agreement import check_agreement
from builders.triton_config.dali import dali_config
from builders.triton_config.profile import Profile, Range, as_facts, profile_of
from server.archive.manifest import Manifest

TASK: Final = "image-segmentation"
_LOW, _GRID, _CHANNELS, _SIDE = 256, 64, 256, dali_sam.LONGER_SIDE
_IMAGE = triton.Field("IMAGE", "TYPE_UINT8", (triton.DYNAMIC,))
_PIXELS = triton.Field(sam.ENCODER_INPUT, "TYPE_FP32", (3, _SIDE, _SIDE))
_EMBEDDING = triton.Field(sam.ENCODER_OUTPUT, "TYPE_FP32", (_CHANNELS, _GRID, _GRID))
_ORIGINAL_SIZE = triton.Field("original_size", "TYPE_INT64", (2,))
_ONE_IMAGE: Final = 1
_POINTS = Range(1, 2, 258)
"""Points that a decoder on a GPU must take: `prompts.MAX_POINTS` and a box; usually a click and padding."""
_PROMPTS = Range(1, 1, 64)


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose. Without a `checkpoint` the weights are random: of that `size`, from that `seed`."""

    checkpoint: Path | None = None
    size: Size = "vit_b"
    seed: int = 0
    name: str = "segment-anything"
    target: triton.Target = "cpu"
    accelerator: accelerated.Accelerator | None = None
    is_measured: bool = True

    @property
    def where(self) -> accelerated.Placement:
        """Raises click.UsageError where target and accelerator do not go together."""
        return accelerated.placement(self.target, self.accelerator)


def build(options: Options, to: Path) -> Path:
    """Build the archive `to`; returns its path.

    Raises:
        UnusableCheckpoint, MissingExtra, click.UsageError: before anything is written.
        ParityFailed: the archive would not mask what the reference masks; nothing is left behind.
        PlanFailed, NoUsableGpu: TensorRT cannot compile the graphs here.
    """
    where = options.where
    require_compiler(where)
    if options.name in ("embed", "preprocess", "encoder", "decoder"):
        raise click.UsageError(f"--name {options.name} is the name of a step inside the archive; choose another one")
    checkpoint = _checkpoint(options)
    with pipeline.work_folder(to.parent) as work:
        root = work / "archive"
        _preprocess_step(options, root)
        profiles = {
            "encoder": _encoder_step(checkpoint, options, root, work),
            "decoder": _decoder_step(checkpoint, options, root, work),
        }
        _embed_step(root)
        _segment_step(options, root)
        with stage("parity with SamPredictor"):
            runs_here = options.target == "cpu"
            parity = check_masks(
                checkpoint,
                SamGraphs(
                    root / "encoder" / "1" / "model.onnx",
                    root / "decoder" / "1" / "model.onnx",
                    root / "preprocess" / "1" / dali_pipeline.PIPELINE_FILE if runs_here else None,
                ),
            )
        measured = _measured(root) if options.is_measured and runs_here else {}
        manifest = _manifest(checkpoint, options, parity, measured, profiles)
        if where.is_plan:
            manifest = compile_steps(root, manifest, PlanOptions())
        return pipeline.finish(root, manifest, to)


def _checkpoint(options: Options) -> SamCheckpoint:
    with stage("model"):
        if options.checkpoint is not None:
            return checkpoints.read(options.checkpoint)
        return checkpoints.random(options.size, options.seed)


def _preprocess_step(options: Options, root: Path) -> None:
    device: dali_pipeline.Device = "mixed" if options.target == "gpu" else "cpu"
    with stage("preprocessing pipeline"):
        text = dali_sam.sam_source(source=_IMAGE.name, max_batch_size=_ONE_IMAGE, device=device)
        dali_pipeline.write(text, root / "preprocess" / "1")
    config = dali_config(
        name="preprocess",
        source=_IMAGE.name,
        outputs=[_PIXELS, _ORIGINAL_SIZE],
        max_batch_size=_ONE_IMAGE,
        target=options.target,
    )
    (root / "preprocess" / "config.pbtxt").write_text(triton.text(config))


def _encoder_step(checkpoint: SamCheckpoint, options: Options, root: Path, work: Path) -> Profile:
    with stage(f"export the image encoder ({checkpoint.size}) to ONNX"):
        plain = sam.export_encoder(checkpoint, work / "encoder.onnx")
    profile = profile_of([_PIXELS], _ONE_IMAGE, {}) if options.target == "gpu" else {}
    _graph_step("encoder", plain, [_PIXELS], [_EMBEDDING], _ONE_IMAGE, options, profile, root)
    return profile


def _decoder_step(checkpoint: SamCheckpoint, options: Options, root: Path, work: Path) -> Profile:
    with stage("export the mask decoder to ONNX"):
        plain = sam.export_decoder(checkpoint, work / "decoder.onnx")
    any_ = triton.DYNAMIC
    inputs = [
        triton.Field(_EMBEDDING.name, "TYPE_FP32", (1, *_EMBEDDING.dims)),
        triton.Field("point_coords", "TYPE_FP32", (any_, any_, 2)),
        triton.Field("point_labels", "TYPE_FP32", (any_, any_)),
        triton.Field("mask_input", "TYPE_FP32", (any_, 1, _LOW, _LOW)),
        triton.Field("has_mask_input", "TYPE_FP32", (1,)),
    ]
    outputs = [
        triton.Field("low_res_masks", "TYPE_FP32", (any_, 4, _LOW, _LOW)),
        triton.Field("iou_predictions", "TYPE_FP32", (any_, 4)),
    ]
    axes = {"point_coords": [_PROMPTS, _POINTS], "point_labels": [_PROMPTS, _POINTS], "mask_input": [_PROMPTS]}
    profile = profile_of(inputs, 0, axes) if options.target == "gpu" else {}
    _graph_step("decoder", plain, inputs, outputs, 0, options, profile, root)
    return profile


def _graph_step(
    name: str,
    plain: Path,
    inputs: Sequence[triton.Field],
    outputs: Sequence[triton.Field],
    max_batch_size: int,
    options: Options,
    profile: Profile,
    root: Path,
) -> None:
    version = root / name / "1"
    version.mkdir(parents=True)
    with stage(f"optimise the {name}"):
        graph = optimise.optimise(plain, version, for_gpu=options.target == "gpu")
    config = accelerated.graph_config(
        name=name,
        inputs=inputs,
        outputs=outputs,
        max_batch_size=max_batch_size,
        where=options.where,
        profile=profile,
        cache_key=content_key(version),
        graph_level=optimise.ALREADY_OPTIMISED,
    )
    if profile:
        accelerated.with_profile_warmup(config, profile)
    check_agreement(config, graph)
    (root / name / "config.pbtxt").write_text(triton.text(config))


def _embed_step(root: Path) -> None:
    """One picture to its embedding. Kept answers: of what is asked, only the encoded picture has to be compared."""
    config = triton.ensemble_config(
        name="embed",
        inputs=[_IMAGE],
        outputs=[_EMBEDDING, _ORIGINAL_SIZE],
        max_batch_size=_ONE_IMAGE,
        steps=[
            triton.EnsembleStep(
                "preprocess",
                {_IMAGE.name: _IMAGE.name},
                {_PIXELS.name: "pixels", _ORIGINAL_SIZE.name: _ORIGINAL_SIZE.name},
            ),
            triton.EnsembleStep("encoder", {_PIXELS.name: "pixels"}, {_EMBEDDING.name: _EMBEDDING.name}),
        ],
    )
    config.response_cache.enable = True
    pipeline.place_empty_version(root / "embed")
    (root / "embed" / "config.pbtxt").write_text(triton.text(config))


def _segment_step(options: Options, root: Path) -> None:
    pipeline.place_step_sources("segment", root / options.name / "1")
    any_ = triton.DYNAMIC
    config = triton.step_config(
        name=options.name,
        backend="python",
        inputs=[
            _IMAGE,
            triton.Field("POINTS", "TYPE_FP32", (any_, 2), is_optional=True),
            triton.Field("POINT_LABELS", "TYPE_INT32", (any_,), is_optional=True),
            triton.Field("BOX", "TYPE_FP32", (4,), is_optional=True),
            triton.Field("MASK_INPUT", "TYPE_FP32", (_LOW, _LOW), is_optional=True),
            triton.Field("MULTIMASK", "TYPE_BOOL", (1,), is_optional=True),
        ],
        outputs=[
            triton.Field("MASKS", "TYPE_UINT8", (any_, any_, any_)),
            triton.Field("IOU", "TYPE_FP32", (any_,)),
            triton.Field("LOW_RES", "TYPE_FP32", (any_, _LOW, _LOW)),
        ],
        max_batch_size=0,
        parameters={"EXECUTION": "in-process", "CALLS": "embed,decoder"},
        instances=2,
    )
    (root / options.name / "config.pbtxt").write_text(triton.text(config))


def _measured(root: Path) -> dict[str, MeasuredGraph]:
    zeros = np.zeros
    feeds = {
        "encoder": {_PIXELS.name: zeros((1, *_PIXELS.dims), np.float32)},
        "decoder": {
            _EMBEDDING.name: zeros((1, *_EMBEDDING.dims), np.float32),
            "point_coords": zeros((1, 2, 2), np.float32),
            "point_labels": zeros((1, 2), np.float32),
            "mask_input": zeros((1, 1, _LOW, _LOW), np.float32),
            "has_mask_input": zeros(1, np.float32),
        },
    }
    with stage("footprint and latency"):
        return {name: measure_graph(root / name / "1" / "model.onnx", arrays) for name, arrays in feeds.items()}


def _manifest(
    checkpoint: SamCheckpoint,
    options: Options,
    parity: dict[str, Any],
    measured: dict[str, MeasuredGraph],
    profiles: dict[str, Profile],
) -> Manifest:
    steps: dict[str, Any] = {name: {"footprint_bytes": {"cpu": each.bytes}} for name, each in measured.items()}
    for name, profile in profiles.items():
        if profile:
            steps[name] = {"profile": as_facts(profile)}
    return Manifest(
        task=TASK,
        entry_model=options.name,
        description=f"Segment Anything {checkpoint.size}, {checkpoint.name}: masks for points, boxes and earlier masks",
        provenance={
            "model": checkpoint.name,
            "size": checkpoint.size,
            "weights_sha256": checkpoint.weights_sha256,
            "licence": "Apache-2.0",
            "options": {"target": options.target, "accelerator": options.where.accelerator},
            "made_with": made_with("torch", "segment-anything", "onnx", "onnxruntime", "nvidia-dali-cuda120"),
        },
        parity=parity,
        latency={f"{name}_p50_ms": round(each.p50_s * 1e3, 1) for name, each in measured.items()},
        steps=steps,
    )

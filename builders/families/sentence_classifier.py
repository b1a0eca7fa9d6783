"""A linear classifier on top of a sentence-embedding archive: text in, class scores out.

The base's steps are taken over byte for byte, so that a hundred classifiers with one base share one tokenizer and one
encoder in memory (equal digests); only the head, a few kilobytes, is new. With `base_archive` they are left out of the
archive as well, which then holds a few kilobytes and says where in the store the base lies.

The head's weights come from the user (`.npz` with `weights` FP32 [width, classes] and `bias` FP32 [classes]).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt

from builders.export.linear_head import write_linear_head
from builders.pipeline import folder as pipeline
from builders.pipeline.bases import needed, open_base, take_over
from builders.triton_config import model as triton
from server.archive.manifest import Manifest
from server.archive.needs import NO_NEEDS

TASK = "sentence-classification"


@dataclass(frozen=True, slots=True)
class Head:
    """A linear head. `weights` FP32 [width, classes], `bias` FP32 [classes], one label per class."""

    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    labels: Sequence[str]


def read_head(file: Path, labels: Sequence[str]) -> Head:
    """Read `weights` and `bias` from an `.npz` file.

    Raises:
        click.ClickException: an array is missing, or the number of labels is not the number of classes.
    """
    with np.load(file, allow_pickle=False) as arrays:
        missing = {"weights", "bias"} - set(arrays.files)
        if missing:
            raise click.ClickException(
                f"{file} lacks {sorted(missing)}: it needs weights [width, classes] and bias [classes]"
            )
        weights, bias = arrays["weights"].astype(np.float32), arrays["bias"].astype(np.float32)
    if weights.ndim != 2 or weights.shape[1] != len(labels):
        raise click.ClickException(f"{file}: weights of shape {weights.shape} do not go with {len(labels)} labels")
    return Head(weights, bias, labels)


def build(base: Path, head: Head, name: str, to: Path, base_archive: str = "") -> Path:
    """Build the classifier archive `to` (by its suffix; no suffix makes a folder that hard-links the base's files).

    `base_archive` leaves the base's steps out: it is the name under which the base will lie in the same store.

    Raises:
        UnusableBase: `base` is not a sentence-embedding archive, or its steps cannot be left out.
    """
    with pipeline.work_folder(to.parent) as work:
        layout = open_base(base, "sentence-embedding", "sentence-embedding", work / "base")
        ensemble = next(model for model in layout.models if model.name == layout.entry).config
        root = work / "archive"
        if base_archive:
            needs = needed(layout, base_archive, without=layout.entry)
        else:
            needs = NO_NEEDS
            take_over(layout, root, without=layout.entry)
        _head_step(head, int(ensemble.max_batch_size), root)
        _ensemble(ensemble, name, head, root)
        manifest = Manifest(
            task=TASK,
            entry_model=name,
            description=f"linear classifier with {len(head.labels)} classes on {base.name}",
            provenance={"base": base.name, "labels": list(head.labels)},
            steps=dict(layout.manifest.steps) if layout.manifest else {},
            needs=needs,
        )
        return pipeline.finish(root, manifest, to)


def _head_step(head: Head, max_batch_size: int, root: Path) -> None:
    version = root / "head" / "1"
    version.mkdir(parents=True)
    write_linear_head(head.weights, head.bias, version / "model.onnx", source="embedding", result="OUTPUT0")
    width, classes = head.weights.shape
    config = triton.step_config(
        name="head",
        backend="onnxruntime",
        inputs=[triton.Field("embedding", "TYPE_FP32", (width,))],
        outputs=[triton.Field("OUTPUT0", "TYPE_FP32", (classes,))],
        max_batch_size=max_batch_size,
        parameters={"intra_op_thread_count": "1"},  # a matrix of a few thousand numbers: a pool of threads costs more
    )
    (root / "head" / "config.pbtxt").write_text(triton.text(config))


def _ensemble(base: Any, name: str, head: Head, root: Path) -> None:
    """The base's ensemble with one more step; what was its output becomes an inner tensor."""
    steps = [
        triton.EnsembleStep(
            step.model_name,
            dict(step.input_map),
            {key: "embedding" if tensor == "OUTPUT0" else tensor for key, tensor in step.output_map.items()},
        )
        for step in base.ensemble_scheduling.step
    ]
    steps.append(triton.EnsembleStep("head", {"embedding": "embedding"}, {"OUTPUT0": "OUTPUT0"}))
    config = triton.ensemble_config(
        name=name,
        inputs=[triton.Field("INPUT0", "TYPE_STRING", (1,))],
        outputs=[triton.Field("OUTPUT0", "TYPE_FP32", (len(head.labels),), label_filename="labels.txt")],
        max_batch_size=int(base.max_batch_size),
        steps=steps,
    )
    pipeline.place_empty_version(root / name)
    (root / name / "labels.txt").write_text("".join(f"{label}\n" for label in head.labels), encoding="utf-8")
    (root / name / "config.pbtxt").write_text(triton.text(config))

"""Creative advertising: a product's picture and two prompts in, an advertisement out.

    advertise (Python, BLS) -> the entry model of a Segment Anything archive -> its steps
                            -> the entry model of a Stable Diffusion archive -> its steps

Both archives' steps are taken over byte for byte, so that a server that has any of the three in memory has paid for
the steps they have in common. The idea is AWS's walk-through on generative advertising with SageMaker endpoints.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from builders.pipeline import folder as pipeline
from builders.pipeline.bases import UnusableBase, open_base, take_over
from builders.triton_config import model as triton
from server.archive.layout import Layout
from server.archive.manifest import Manifest

TASK: Final = "creative-advertising"
_LONGEST: Final = 768
"""Longest side that is painted, where the model paints so much: beyond it Stable Diffusion 1.x repeats its subject."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a user can choose. The two bases are archives or folders of their families."""

    segment_anything: Path
    stable_diffusion: Path
    name: str = "creative-advertising"


def build(options: Options, to: Path) -> Path:
    """Build the archive `to`; returns its path.

    Raises:
        UnusableBase: a base is of another family, or its Stable Diffusion cannot fill masks.
    """
    with pipeline.work_folder(to.parent) as work:
        root = work / "archive"
        segmenter = open_base(options.segment_anything, "image-segmentation", "segment-anything", work / "sam")
        painter = open_base(options.stable_diffusion, "text-to-image", "stable-diffusion", work / "sd")
        limits = _limits(painter, options.stable_diffusion)
        take_over(segmenter, root)
        take_over(painter, root)
        if (root / options.name).exists():
            raise UnusableBase(f"a base has a model {options.name!r} already; choose another --name")
        _entry_step(options, segmenter, painter, limits, root)
        return pipeline.finish(root, _manifest(options, segmenter, painter), to)


def _limits(painter: Layout, archive: Path) -> Mapping[str, Any]:
    """What the painter's entry step allows; it has to be able to fill masks."""
    entry = next(model for model in painter.models if model.name == painter.entry)
    told = json.loads((entry.path / "1" / "diffuse.json").read_text("utf-8"))
    missing = [use for use in ("paint", "inpaint") if use not in told["kits"]]
    if missing:
        flag = {"paint": "--model", "inpaint": "--inpainting"}[missing[0]]
        raise UnusableBase(
            f"{archive} cannot {missing[0]}: build it with  roundhouse build stable-diffusion {flag} ..."
        )
    limits: Mapping[str, Any] = told["limits"]
    return limits


def _entry_step(options: Options, segmenter: Layout, painter: Layout, limits: Mapping[str, Any], root: Path) -> None:
    pipeline.place_step_sources("advertise", root / options.name / "1")
    any_, scalar = triton.DYNAMIC, (1,)
    multiple = int(limits["multiple"])
    most = min(_LONGEST, max(int(limits["side"]), int(limits["max_pixels"] ** 0.5)))
    picture, mask = (any_, any_, 3), (any_, any_)
    optional = {
        "NEGATIVE_PROMPT": "TYPE_STRING",
        "SCHEDULER": "TYPE_STRING",
        "STEPS": "TYPE_INT32",
        "SEED": "TYPE_INT64",
        "GUIDANCE": "TYPE_FP32",
    }
    config = triton.step_config(
        name=options.name,
        backend="python",
        inputs=[
            triton.Field("IMAGE", "TYPE_UINT8", picture),
            triton.Field("PROMPT_FR", "TYPE_STRING", scalar),
            triton.Field("PROMPT_BG", "TYPE_STRING", scalar),
            triton.Field("MASK", "TYPE_UINT8", mask, is_optional=True),
            *(triton.Field(name, kind, scalar, is_optional=True) for name, kind in optional.items()),
        ],
        outputs=[
            triton.Field("GENERATED", "TYPE_UINT8", picture),
            triton.Field("BACKGROUND", "TYPE_UINT8", picture),
            triton.Field("PRODUCT_MASK", "TYPE_UINT8", mask),
            triton.Field("POSTPROCESSED", "TYPE_UINT8", picture),
        ],
        max_batch_size=0,
        parameters={
            "EXECUTION": "in-process",
            "CALLS": f"{segmenter.entry},{painter.entry}",
            "SEGMENTER": segmenter.entry,
            "PAINTER": painter.entry,
            "MULTIPLE": str(multiple),
            "LONGEST": str(max(multiple, most - most % multiple)),
        },
        instances=2,
    )
    (root / options.name / "config.pbtxt").write_text(triton.text(config))


def _manifest(options: Options, segmenter: Layout, painter: Layout) -> Manifest:
    bases = {"segment-anything": segmenter.manifest, "stable-diffusion": painter.manifest}
    found = {family: manifest for family, manifest in bases.items() if manifest is not None}
    return Manifest(
        task=TASK,
        entry_model=options.name,
        description="an advertisement from a product's picture: "
        + "; ".join(each.description for each in found.values()),
        provenance={family: dict(manifest.provenance) for family, manifest in found.items()},
        parity={family: dict(manifest.parity) for family, manifest in found.items()},
        steps={name: facts for manifest in found.values() for name, facts in manifest.steps.items()},
    )

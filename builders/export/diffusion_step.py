"""Makes one part of a diffusion checkpoint into a step: graph, precision, config, and what to compare it with later."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from builders.checkpoints.files import UnusableCheckpoint
from builders.export import diffusion, half, optimise, torch_dynamo
from builders.export.diffusion import GRAPHS
from builders.pipeline import folder as pipeline
from builders.pipeline.content_key import content_key
from builders.triton_config import diffusion as configs
from builders.triton_config import model as triton
from builders.triton_config.accelerated import Placement
from builders.triton_config.agreement import check_agreement
from builders.triton_config.diffusion import TOKENS, Shapes
from builders.triton_config.profile import Profile

Precision: TypeAlias = Literal["fp32", "fp16"]
_GRAPH: Final = "model.onnx"


@dataclass(frozen=True, slots=True)
class ExportedPart:
    """A step that lies in its place, with inputs and the outputs that the reference gave for them."""

    part: str
    step: str
    graph: Path
    inputs: dict[str, npt.NDArray[Any]]
    expected: npt.NDArray[np.float32]
    profile: Profile
    weight_bytes: int


def place_tokenizer(tokenizer: Any, step: str, root: Path) -> None:
    """Write the tokenizer's step, with CLIP's padding to 77 tokens.

    Raises:
        UnusableCheckpoint: a tokenizer without a fast form, or of another length.
    """
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None or tokenizer.model_max_length != TOKENS:
        raise UnusableCheckpoint(
            f"the tokenizer reads {tokenizer.model_max_length} tokens; {TOKENS}, with a fast tokenizer, can be built"
        )
    version = root / step / "1"
    pipeline.place_step_sources("tokenize", version)
    fast.enable_truncation(TOKENS)
    fast.enable_padding(length=TOKENS, pad_id=tokenizer.pad_token_id, pad_token=tokenizer.pad_token)
    fast.save(str(version / "tokenizer.json"), pretty=False)
    fast.no_truncation()
    fast.no_padding()
    (root / step / "config.pbtxt").write_text(triton.text(configs.tokenizer_config(step)))


def place_part(
    part: str, module: Any, step: str, shapes: Shapes, precision: Precision, where: Placement, root: Path, work: Path
) -> ExportedPart:
    """Export a part and write its step.

    Raises:
        ConfigDisagrees: the graph is not what the config says. A bug of this builder.
    """
    version = root / step / "1"
    version.mkdir(parents=True)
    inputs = diffusion.example_inputs(part, module)
    expected = diffusion.run_reference(part, module, inputs)
    plain = work / step / _GRAPH
    plain.parent.mkdir()
    diffusion.export(part, module, plain)
    level = _finish(plain, version, precision, where, is_large=diffusion.is_large(module))
    shutil.rmtree(plain.parent)
    config, profile = configs.graph_config(part, step, shapes, where, content_key(version), level)
    check_agreement(config, version / _GRAPH)
    (root / step / "config.pbtxt").write_text(triton.text(config))
    return ExportedPart(
        part,
        step,
        version / _GRAPH,
        dict(zip(GRAPHS[part].inputs, inputs, strict=True)),
        expected,
        profile,
        torch_dynamo.weight_bytes(module),
    )


def _finish(plain: Path, version: Path, precision: Precision, where: Placement, *, is_large: bool) -> int | None:
    """Put the graph into its version folder; returns the level of optimisation that is left to the server.

    Large graphs stay as they are: optimising one takes two and a half times its size in memory, and the server's own
    passes at load do the same.
    """
    if precision == "fp16":
        half.half(plain, plain.with_name("half.onnx"))
        shutil.move(plain.with_name("half.onnx"), version / _GRAPH)
        if (weights := plain.with_name(half.WEIGHTS)).exists():
            shutil.move(weights, version / half.WEIGHTS)
        return None
    if not is_large:
        graph = optimise.optimise(plain, version, for_gpu=where.target == "gpu")
        return optimise.left_to_server(graph, for_gpu=where.target == "gpu")
    for file in sorted(plain.parent.iterdir()):
        shutil.move(file, version / file.name)
    return None

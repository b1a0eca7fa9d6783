"""Turns a large torch module into ONNX, with its weights in one file beside the graph.

The dynamo exporter is 5 to 20 times slower than the one of `torch_onnx.py`, and needs a third of its memory: SAM's
vit_b encoder takes 2.9 GB instead of 9.3, an SD 1.5 UNet 4 GB (and 106 s) instead of about 14. It also writes weights
beyond protobuf's 2 GiB. From which size on it pays, each family knows.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from builders.pipeline.extras import need

OPSET: Final = 20
"""Read by every ONNX Runtime since 1.17."""


def export(
    module: Any,
    example: Sequence[Any],
    to: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
) -> Path:
    """Write `module` to `to` and its weights to `to` + `.data`, as `torch_onnx.export` does for small ones."""
    torch, onnx = need("torch"), need("onnx")
    need("onnxscript")
    module.eval()
    axes = tuple(dict.fromkeys(dynamic_axes.get(name, ()), torch.export.Dim.DYNAMIC) for name in inputs)
    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parity check is what counts
            torch.onnx.export(
                module,
                tuple(example),
                str(to),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=axes if any(axes) else None,
                opset_version=OPSET,
                dynamo=True,
                external_data=True,
                verbose=False,
            )
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    _forget_sources(onnx, to)
    return to


def weight_bytes(module: Any) -> int:
    """Bytes of all parameters."""
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def _forget_sources(onnx: Any, graph: Path) -> None:
    """Remove notes about the Python files that the graph came from: they name places on this machine."""
    model = onnx.load(str(graph), load_external_data=False)
    for holder in (model, model.graph, *model.functions):
        del holder.metadata_props[:]
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    graph.write_bytes(model.SerializeToString(deterministic=True))

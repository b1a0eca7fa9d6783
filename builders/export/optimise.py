"""Optimise a graph once, at build time, and put its weights into a file that is mapped instead of read.

Measured on MiniLM (90 MB, 2 cores): session creation 310 ms from a plain file, 125 ms from this form; private memory
117 MB against 44 MB, since the weights that need no repacking stay in the page cache and are shared by all processes.
"""

from pathlib import Path
from typing import Final

import onnxruntime as ort

from builders.pipeline.extras import need

WEIGHTS = "weights.bin"
_MAPPED_FROM_BYTES = 1024

ALREADY_OPTIMISED = -1
"""`optimization.graph.level` of Triton's onnxruntime backend: basic passes only, since the rest was done here."""

_LAID_OUT: Final = frozenset({"Conv", "FusedConv"})
"""Operators that the layout passes reorder the weights of."""


def optimise(plain: Path, folder: Path, *, for_gpu: bool = False) -> Path:
    """Write `folder/model.onnx` and `folder/weights.bin`; returns the model's path.

    For the CPU the extended passes run (fusions that hold on every CPU; layout passes depend on the machine and stay
    out). For a GPU only the basic ones: fused CPU operators would keep TensorRT from its own fusions.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_BASIC if for_gpu else levels.ORT_ENABLE_EXTENDED
    model = folder / "model.onnx"
    options.optimized_model_filepath = str(model)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", str(_MAPPED_FROM_BYTES)
    )
    ort.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])
    return model


def left_to_server(model: Path, *, for_gpu: bool = False) -> int | None:
    """The `optimization.graph.level` for a graph that `optimise` wrote; None: all passes.

    Convolutions on a CPU are a matter of layout, which depends on the machine and so cannot be settled here. Settling
    it takes the server 45 ms at load, and EfficientNet-lite0 then 12 ms of processor time a photo instead of 38.
    """
    if for_gpu:
        return ALREADY_OPTIMISED
    graph = need("onnx").load(str(model), load_external_data=False).graph
    return None if any(node.op_type in _LAID_OUT for node in graph.node) else ALREADY_OPTIMISED

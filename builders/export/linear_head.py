"""A linear classifier as ONNX, from numpy weights alone: softmax(x @ weights + bias)."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from builders.pipeline.extras import need

Floats = npt.NDArray[np.float32]


def write_linear_head(weights: Floats, bias: Floats, to: Path, *, source: str, result: str) -> Path:
    """Write a graph with input `source` FP32 [batch, width] and output `result` FP32 [batch, classes].

    `weights` is FP32 [width, classes], `bias` FP32 [classes].

    Raises:
        ValueError: the shapes do not fit together.
    """
    if weights.ndim != 2 or bias.shape != (weights.shape[1],):
        raise ValueError(f"weights {weights.shape} and bias {bias.shape}: expected [width, classes] and [classes]")
    onnx = need("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    width, classes = weights.shape
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", [source, "weights", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], [result], axis=1),
        ],
        "linear_head",
        [helper.make_tensor_value_info(source, onnx.TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info(result, onnx.TensorProto.FLOAT, ["batch", classes])],
        [
            numpy_helper.from_array(np.ascontiguousarray(weights, np.float32), "weights"),
            numpy_helper.from_array(np.ascontiguousarray(bias, np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    to.write_bytes(model.SerializeToString(deterministic=True))
    return to

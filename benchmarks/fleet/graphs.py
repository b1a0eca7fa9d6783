"""Encoders and heads as ONNX graphs, and the Triton configs around them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from benchmarks.fleet.encoder import EPSILON, GELU, Floats, Shape

WEIGHTS: Final = "weights.bin"
_OPSET: Final = 17
_MAPPED_FROM_BYTES: Final = "1024"
_ERRORS_ONLY: Final = 3


class _Graph:
    """Nodes in order, with names for what flows between them."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants = dict(weights)

    def add(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def linear(self, x: str, name: str, out: str = "") -> str:
        return self.add("Add", self.add("MatMul", x, name), f"{name}.bias", out=out)

    def number(self, value: float) -> str:
        name = f"number {value!r}"
        self.constants[name] = np.array(value, np.float32)
        return name

    def model(self, ins: list[Any], outs: list[Any]) -> ModelProto:
        constants = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, "g", ins, outs, constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)


def encoder_files(shape: Shape, weights: Mapping[str, Floats]) -> dict[str, bytes]:
    """`model.onnx` and `weights.bin`: optimised once and the weights apart, as the builders write their archives."""
    plain = _encoder(shape, weights).SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model.onnx")
        options = ort.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(model)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_min_size_in_bytes", _MAPPED_FROM_BYTES
        )
        ort.InferenceSession(plain, options, providers=["CPUExecutionProvider"])
        return {file.name: file.read_bytes() for file in sorted(Path(folder).iterdir())}


def head_file(shape: Shape, weights: Mapping[str, Floats]) -> bytes:
    """`model.onnx` of a head, weights inside: it has a few thousand bytes."""
    graph = _Graph(weights)
    graph.add("Softmax", graph.linear("embedding", "head"), out="scores", axis=-1)
    embedding, scores = _floats("embedding", shape.width), _floats("scores", shape.classes)
    return bytes(graph.model([embedding], [scores]).SerializeToString())


def configs(shape: Shape) -> dict[str, str]:
    """config.pbtxt by step: `encoder`, `head`, and the ensemble `classify` that is asked."""
    ids, embedding, scores = (
        f'name: "ids" data_type: TYPE_INT64 dims: {shape.tokens}',
        f'name: "embedding" data_type: TYPE_FP32 dims: {shape.width}',
        f'name: "scores" data_type: TYPE_FP32 dims: {shape.classes}',
    )
    one_thread = 'parameters { key: "intra_op_thread_count" value { string_value: "1" } }\n'
    encoder = f"input {{ {ids} }}\noutput {{ {embedding} }}\noptimization {{ graph {{ level: -1 }} }}\n{one_thread}"
    head = f"input {{ {embedding} }}\noutput {{ {scores} }}\n{one_thread}"
    calls = _call("encoder", "ids", "embedding") + _call("head", "embedding", "scores")
    return {
        "encoder": f'backend: "onnxruntime"\nmax_batch_size: 16\n{encoder}',
        "head": f'backend: "onnxruntime"\nmax_batch_size: 16\n{head}',
        "classify": f'platform: "ensemble"\nmax_batch_size: 16\ninput {{ {ids} }}\noutput {{ {scores} }}\n'
        f"ensemble_scheduling {{ {calls} }}\n",
    }


def _call(step: str, takes: str, gives: str) -> str:
    maps = f'input_map {{ key: "{takes}" value: "{takes}" }} output_map {{ key: "{gives}" value: "{gives}" }}'
    return f'step {{ model_name: "{step}" model_version: -1 {maps} }} '


def _encoder(shape: Shape, weights: Mapping[str, Floats]) -> ModelProto:
    graph = _Graph(weights)
    x = graph.add("Add", graph.add("Gather", "tokens", "ids"), "positions")
    for layer in range(shape.layers):
        mixed = graph.add("Add", x, _attention(graph, shape, x, str(layer)))
        x = _norm(graph, mixed, f"{layer}.first")
        down = graph.linear(_gelu(graph, graph.linear(x, f"{layer}.up")), f"{layer}.down")
        x = _norm(graph, graph.add("Add", x, down), f"{layer}.second")
    graph.add("ReduceMean", x, out="embedding", axes=[1], keepdims=0)
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", shape.tokens])
    return graph.model([ids], [_floats("embedding", shape.width)])


def _attention(graph: _Graph, shape: Shape, x: str, layer: str) -> str:
    each = shape.width // shape.attention_heads
    apart = helper.make_tensor(f"{layer}.apart", TensorProto.INT64, [4], [0, 0, shape.attention_heads, each])
    joined = helper.make_tensor(f"{layer}.joined", TensorProto.INT64, [3], [0, 0, shape.width])
    split = graph.add("Constant", value=apart)
    parts = {}
    for name, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
        reshaped = graph.add("Reshape", graph.linear(x, f"{layer}.{name}"), split)
        parts[name] = graph.add("Transpose", reshaped, perm=order)
    scores = graph.add("Mul", graph.add("MatMul", parts["query"], parts["key"]), graph.number(each**-0.5))
    weighed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), parts["value"])
    flat = graph.add("Reshape", graph.add("Transpose", weighed, perm=[0, 2, 1, 3]), graph.add("Constant", value=joined))
    return graph.linear(flat, f"{layer}.mix")


def _norm(graph: _Graph, x: str, name: str) -> str:
    return graph.add("LayerNormalization", x, f"{name}.scale", f"{name}.bias", axis=-1, epsilon=EPSILON)


def _gelu(graph: _Graph, x: str) -> str:
    factor, cube = GELU
    cubed = graph.add("Mul", graph.add("Mul", graph.add("Mul", x, x), x), graph.number(cube))
    bent = graph.add("Tanh", graph.add("Mul", graph.add("Add", x, cubed), graph.number(factor)))
    return graph.add("Mul", graph.add("Mul", x, graph.number(0.5)), graph.add("Add", bent, graph.number(1.0)))


def _floats(name: str, columns: int) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", columns])

"""FP16 inside, the same face outside."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto

from builders.export.half import half
from tests.fakes.repositories import onnx_linear

WIDTH = 8


def run(graph, values):
    return ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"]).run(None, {"INPUT0": values})[0]


def test_weights_are_half_and_edges_are_as_they_were(tmp_path):
    plain = onnx_linear(tmp_path / "linear", features=WIDTH, outputs=3) / "1" / "model.onnx"
    made = half(plain, tmp_path / "half.onnx")
    graph = onnx.load(str(made)).graph
    assert {each.data_type for each in graph.initializer} == {TensorProto.FLOAT16}
    assert [each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)] == [TensorProto.FLOAT] * 2
    values = np.random.default_rng(0).standard_normal((5, WIDTH)).astype(np.float32)
    exact = run(plain, values)
    assert 0 < np.abs(run(made, values) - exact).max() < 2e-3 * np.abs(exact).max()
    assert half(plain, tmp_path / "again.onnx").read_bytes() == made.read_bytes()


def test_named_nodes_stay_as_they_are(tmp_path):
    plain = onnx_linear(tmp_path / "linear", features=WIDTH, outputs=3) / "1" / "model.onnx"
    model = onnx.load(str(plain))
    for index, node in enumerate(model.graph.node):
        node.name = f"node{index}"
    onnx.save(model, str(plain))
    kept = half(plain, tmp_path / "kept.onnx", keep_fp32=[node.name for node in model.graph.node])
    assert {each.data_type for each in onnx.load(str(kept)).graph.initializer} == {TensorProto.FLOAT}

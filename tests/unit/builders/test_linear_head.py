"""The classifier head equals numpy's softmax(x @ w + b)."""

import numpy as np
import onnxruntime as ort
import pytest

from builders.export.linear_head import write_linear_head


def test_the_head_computes_a_softmax_of_a_linear_map(tmp_path):
    random = np.random.default_rng(0)
    weights, bias = random.normal(size=(8, 3)).astype(np.float32), random.normal(size=3).astype(np.float32)
    x = random.normal(size=(5, 8)).astype(np.float32)
    path = write_linear_head(weights, bias, tmp_path / "model.onnx", source="x", result="y")
    (scores,) = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    logits = x @ weights + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_the_same_weights_make_the_same_bytes(tmp_path):
    weights, bias = np.eye(4, 2, dtype=np.float32), np.zeros(2, np.float32)
    files = [write_linear_head(weights, bias, tmp_path / name, source="x", result="y") for name in ("a.onnx", "b.onnx")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_shapes_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="expected"):
        write_linear_head(
            np.zeros((4, 2), np.float32), np.zeros(3, np.float32), tmp_path / "m.onnx", source="x", result="y"
        )

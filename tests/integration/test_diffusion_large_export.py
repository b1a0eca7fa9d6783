"""The exporter for large parts (dynamo, weights beside the graph), on small ones."""

import numpy as np
import onnxruntime as ort
import pytest

from builders.checkpoints.random_diffusion import random_checkpoint
from builders.export import diffusion, torch_dynamo

pytestmark = [pytest.mark.builders, pytest.mark.slow]


@pytest.mark.parametrize(
    "part",
    ["unet"],  # the part that is large; each takes a quarter of a minute
)
def test_a_graph_with_weights_beside_it_computes_the_same_and_names_no_place_on_this_machine(tmp_path, part):
    import torch

    module = random_checkpoint("tiny", 0).load("vae" if part.startswith("vae") else part)
    graph = diffusion.GRAPHS[part]
    path = torch_dynamo.export(
        graph.wrap(torch, module),
        graph.example(torch, module),
        tmp_path / "model.onnx",
        inputs=graph.inputs,
        outputs=[graph.output],
        dynamic_axes=graph.axes,
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = diffusion.example_inputs(part, module)
    smaller = [each[:1, :, : each.shape[2] // 2] if each.ndim == 4 else each[:1] for each in inputs]
    for feed in (inputs, smaller):
        (got,) = session.run(None, dict(zip(graph.inputs, feed, strict=True)))
        expected = diffusion.run_reference(part, module, feed)
        np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())
    assert b".py" not in path.read_bytes()

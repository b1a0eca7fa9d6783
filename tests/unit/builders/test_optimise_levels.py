"""How much optimisation is left to the server: all of it where layouts count, else little, for a quick load."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from builders.export import optimise

pytestmark = pytest.mark.builders


def graph(folder, operator, shape, weights):
    """A graph of one operator and its weights, optimised."""
    taken = helper.make_tensor_value_info("X", TensorProto.FLOAT, shape)
    given = helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)
    weight = numpy_helper.from_array(np.ones(weights, np.float32), "W")
    made = helper.make_graph([helper.make_node(operator, ["X", "W"], ["Y"])], "g", [taken], [given], [weight])
    plain = folder / "plain.onnx"
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(plain))
    (folder / "1").mkdir()
    return optimise.optimise(plain, folder / "1")


def test_convolutions_are_laid_out_by_the_server(tmp_path):
    assert optimise.left_to_server(graph(tmp_path, "Conv", [1, 3, 8, 8], (16, 3, 3, 3))) is None


def test_without_convolutions_nothing_is_left(tmp_path):
    assert optimise.left_to_server(graph(tmp_path, "MatMul", [1, 8], (8, 8))) == optimise.ALREADY_OPTIMISED


def test_on_a_gpu_nothing_is_left(tmp_path):
    found = optimise.left_to_server(graph(tmp_path, "Conv", [1, 3, 8, 8], (16, 3, 3, 3)), for_gpu=True)
    assert found == optimise.ALREADY_OPTIMISED

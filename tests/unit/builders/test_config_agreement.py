"""A config that does not say what its graph says is found by the build, not by the host that serves."""

import onnx
import pytest
from onnx import TensorProto, helper

from builders.triton_config import model as triton
from builders.triton_config.agreement import ConfigDisagrees, check_agreement, check_archive

IN = triton.Field("x", "TYPE_FP32", (3, -1))
OUT = triton.Field("y", "TYPE_FP32", (3, -1))


@pytest.fixture
def graph(tmp_path):
    """From x FP32 [batch, 3, n] to y, and to a second output z whose shape is not told."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, "n"])
    z = helper.make_tensor_value_info("z", TensorProto.BOOL, None)
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("IsNaN", ["x"], ["z"])]
    weights = [helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])]
    made = helper.make_graph(
        nodes, "g", [x, helper.make_tensor_value_info("w", TensorProto.FLOAT, [1])], [y, z], weights
    )
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    return file


def config(inputs=(IN,), outputs=(OUT,), max_batch_size=8):
    return triton.step_config(
        name="step", backend="onnxruntime", inputs=inputs, outputs=outputs, max_batch_size=max_batch_size
    )


def test_what_fits_passes_as_message_and_as_text(graph):
    fits = config(outputs=[OUT, triton.Field("z", "TYPE_BOOL", (7,))])
    check_agreement(fits, graph)
    check_agreement(triton.text(fits), graph)
    reshaped = config([triton.Field("x", "TYPE_FP32", (3,))])
    reshaped.input[0].reshape.shape.extend([3, 1])
    check_agreement(reshaped, graph)
    assert reshaped.input[0].dims == [3]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (config([triton.Field("X", "TYPE_FP32", (3, -1))]), "input 'x' is not in the config.*'X' is not in the graph"),
        (
            config([triton.Field("x", "TYPE_FP16", (3, -1))]),
            "'x' is TYPE_FP16 in the config and TYPE_FP32 in the graph",
        ),
        (config([triton.Field("x", "TYPE_FP32", (-1,))]), "has 2 axes in the config .* and 3 in the graph"),
        (config(max_batch_size=0), "output .y. has 2 axes in the config .* and 3 in the graph"),
        (config([triton.Field("x", "TYPE_FP32", (4, -1))]), "fixed to 3 on axis 1 in the graph, and 4 in the config"),
        (config(outputs=[triton.Field("y", "TYPE_FP32", (-1, -1))]), "output 'y' is fixed to 3"),
        (config(outputs=[triton.Field("z", "TYPE_FP32", (1,))]), "output 'z' is TYPE_FP32"),
        ("name: 3", "does not parse"),
        ('bogus_field: "x"', "bogus_field"),
    ],
)
def test_what_does_not_fit_is_told(graph, wrong, message):
    with pytest.raises(ConfigDisagrees, match=f"(?s){message}"):
        check_agreement(wrong, graph)


def test_a_fixed_batch_axis_is_told(tmp_path):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, "n"])
    made = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(made), str(tmp_path / "m.onnx"))
    with pytest.raises(ConfigDisagrees, match="fixed to 1 on the batch axis"):
        check_agreement(config(), tmp_path / "m.onnx")


def test_every_step_of_an_archive_is_looked_at(graph, tmp_path):
    archive = tmp_path / "archive"
    for name in ("encoder", "tokenize"):
        (archive / name / "1").mkdir(parents=True)
        (archive / name / "config.pbtxt").write_text(triton.text(config()))
    (archive / "encoder" / "1" / "model.onnx").write_bytes(graph.read_bytes())
    assert check_archive(archive) == ["encoder"]
    (archive / "tokenize" / "config.pbtxt").write_text("name: ")
    with pytest.raises(ConfigDisagrees, match="does not parse"):
        check_archive(archive)

"""Configs that leave things out."""

import onnx
import pytest
from onnx import TensorProto, helper

from server.archive.model_config import is_complete, parse
from server.domain.errors import InvalidArchive, UnsupportedModel
from server.engines.completion import complete
from tests.fakes import repositories


def completed(folder, text=""):
    return complete(folder, parse(text))


def shapes(tensors):
    return {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in tensors}


FP32 = 11


def test_an_onnx_model_with_a_dynamic_first_axis_gets_tritons_batch_size(tmp_path):
    config = completed(repositories.onnx_linear(tmp_path / "m"))
    assert (config.name, config.backend, config.max_batch_size) == ("m", "onnxruntime", 4)
    assert shapes(config.input) == {"INPUT0": (FP32, [4])}
    assert shapes(config.output) == {"OUTPUT0": (FP32, [2])}
    assert is_complete(config)


def test_a_fixed_first_axis_means_no_batching(tmp_path):
    config = completed(repositories.onnx_linear(tmp_path / "m", max_batch_size=0))
    assert config.max_batch_size == 0
    assert shapes(config.input) == {"INPUT0": (FP32, [4])}


def test_what_the_config_says_stands(tmp_path):
    folder = repositories.onnx_linear(tmp_path / "m")
    config = completed(folder, 'name: "n" max_batch_size: 32 instance_group { count: 3 }')
    assert (config.name, config.max_batch_size, config.instance_group[0].count) == ("n", 32, 3)


def test_tensors_written_out_without_a_batch_size_have_no_batch_axis(tmp_path):
    folder = repositories.onnx_linear(tmp_path / "m")
    config = completed(folder, 'input { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1, 4 ] }')
    assert config.max_batch_size == 0
    assert shapes(config.output) == {"OUTPUT0": (FP32, [-1, 2])}


def test_a_scalar_per_request_is_a_reshape(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["a"], ["b"])],
        "g",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, ["n"])],
    )
    config = completed(repositories.save_onnx(tmp_path / "m", graph))
    assert config.max_batch_size == 4
    assert list(config.input[0].dims) == [1]
    assert list(config.input[0].reshape.shape) == []
    assert config.input[0].HasField("reshape")


def test_the_original_is_left_alone(tmp_path):
    given = parse("")
    complete(repositories.onnx_linear(tmp_path / "m"), given)
    assert given == parse("")


def test_a_python_model_completes_itself(tmp_path):
    source = """
    class TritonPythonModel:
        @staticmethod
        def auto_complete_config(config):
            config.add_input({"name": "a", "data_type": "TYPE_FP32", "dims": [3]})
            config.add_output({"name": "b", "data_type": "TYPE_FP32", "dims": [3]})
            config.set_max_batch_size(2)
            return config

        def execute(self, requests):
            return []
    """
    folder = repositories.python_model(tmp_path / "m", source)
    config = completed(folder, 'backend: "python"')
    assert config.max_batch_size == 2
    assert shapes(config.input) == {"a": (FP32, [3])}


@pytest.mark.parametrize(
    ("file", "text", "error", "words"),
    [
        ("model.onnx", "", InvalidArchive, "refused the model"),
        ("notes.txt", "", InvalidArchive, "names no backend"),
        ("model.plan", "", UnsupportedModel, "'tensorrt' cannot be looked into"),
        ("model.x", 'backend: "mine"', UnsupportedModel, "'mine'"),
    ],
)
def test_what_cannot_be_completed_is_said(tmp_path, file, text, error, words):
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / file).write_bytes(b"junk")
    with pytest.raises(error, match=words):
        completed(tmp_path / "m", text)


def test_without_any_version_there_is_nothing_to_look_into(tmp_path):
    with pytest.raises(InvalidArchive, match="no version folder"):
        completed(tmp_path)


def test_sequences_cannot_be_served(tmp_path):
    sequence = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    graph = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["a"], ["b"])],
        "g",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [2])],
        [onnx.helper.make_value_info("b", sequence)],
    )
    with pytest.raises(UnsupportedModel, match="only tensors"):
        completed(repositories.save_onnx(tmp_path / "m", graph))

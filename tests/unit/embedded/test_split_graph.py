"""Which products of a graph are split, what they take in, and that the graph says the same afterwards."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from server.engines.embedded.split_products.split_graph import split_products
from server.engines.embedded.split_products.split_library import split_library
from tests.fakes.split_products import NEEDS_TILES

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((3, 5, 96), dtype=np.float32)


def matrix(*shape):
    return RANDOM.standard_normal(shape, dtype=np.float32) / 8


def write(folder, nodes, constants, outputs=("y",), **options):
    """A graph from x [a, b, 96] to `outputs`, with its constants in a file beside it."""
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, [output], domain=domain) for operator, inputs, output, domain in nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b", 96])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(each, name) for name, each in constants.items()],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=versions, ir_version=8)
    folder.mkdir()
    options = {"location": "all.bin", "size_threshold": 0, **options}
    onnx.save(model, str(folder / "model.onnx"), save_as_external_data=True, **options)
    return folder / "model.onnx"


def split(tmp_path, *args, **options):
    """The graph before, after, how many were split, and the operators that it has then."""
    before, after = write(tmp_path / "before", *args, **options), tmp_path / "after" / "model.onnx"
    after.parent.mkdir()
    count = split_products(before, after, "weights.bin")
    nodes = onnx.load(str(after), load_external_data=False).graph.node if count else []
    return before, after, count, [node.op_type for node in nodes]


def run(path, x=X):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if split_library() is not None:
        options.register_custom_ops_library(str(split_library()))
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})


def assert_same(before, after):
    for one, other in zip(run(before), run(after), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=2e-5)


CASES = {
    "alone": ([("MatMul", ["x", "w"], "y", "")], ["SplitMatMul"]),
    "with its bias": ([("MatMul", ["x", "w"], "p", ""), ("Add", ["p", "b"], "y", "")], ["SplitMatMul"]),
    "with its bias before it": ([("MatMul", ["x", "w"], "p", ""), ("Add", ["b", "p"], "y", "")], ["SplitMatMul"]),
    "with bias and GELU": (
        [("MatMul", ["x", "w"], "p", ""), ("BiasGelu", ["p", "b"], "y", "com.microsoft")],
        ["SplitMatMulGelu"],
    ),
    "two in a row": (
        [("MatMul", ["x", "w"], "p", ""), ("Add", ["p", "b"], "q", ""), ("MatMul", ["q", "v"], "y", "")],
        ["SplitMatMul", "SplitMatMul"],
    ),
    "a sum with something else": (
        [("MatMul", ["x", "w"], "p", ""), ("Add", ["p", "one"], "y", "")],
        ["SplitMatMul", "Add"],
    ),
    "taken twice": (
        [
            ("MatMul", ["x", "w"], "p", ""),
            ("Add", ["p", "b"], "q", ""),
            ("Relu", ["p"], "r", ""),
            ("Mul", ["q", "r"], "y", ""),
        ],
        ["SplitMatMul", "Add", "Relu", "Mul"],
    ),
    "its square": ([("MatMul", ["x", "w"], "p", ""), ("Add", ["p", "p"], "y", "")], ["SplitMatMul", "Add"]),
    "beside one that is too small": (
        [("MatMul", ["x", "w"], "p", ""), ("MatMul", ["p", "narrow"], "y", "")],
        ["SplitMatMul", "MatMul"],
    ),
}
CONSTANTS = {
    "w": matrix(96, 80),
    "b": matrix(80),
    "v": matrix(80, 64),
    "one": np.ones(1, np.float32),
    "narrow": matrix(80, 8),
}


def taken_of(nodes):
    names = {name for _, inputs, _, _ in nodes for name in inputs}
    return {name: each for name, each in CONSTANTS.items() if name in names}


@NEEDS_TILES
@pytest.mark.parametrize("case", CASES)
def test_it_says_the_same(tmp_path, case):
    nodes, expected = CASES[case]
    before, after, count, operators = split(tmp_path, nodes, taken_of(nodes))
    assert operators == expected
    assert count == sum(each.startswith("Split") for each in expected)
    assert_same(before, after)


def test_weights_that_nobody_takes_any_more_are_left_out(tmp_path):
    nodes, _ = CASES["beside one that is too small"]
    _, after, _, _ = split(tmp_path, nodes, taken_of(nodes))
    kept = {each.name: each for each in onnx.load(str(after), load_external_data=False).graph.initializer}
    assert set(kept) == {"w/split", "narrow", "roundhouse/zeros/80"}
    assert list(kept["w/split"].dims) == [3, 3, 2048]
    narrow = onnx.load(str(after)).graph.initializer
    (found,) = [numpy_helper.to_array(each) for each in narrow if each.name == "narrow"]
    np.testing.assert_array_equal(found, CONSTANTS["narrow"])


def test_weights_begin_on_pages(tmp_path):
    nodes, _ = CASES["two in a row"]
    _, after, _, _ = split(tmp_path, nodes, taken_of(nodes))
    places = [
        {entry.key: entry.value for entry in each.external_data}
        for each in onnx.load(str(after), load_external_data=False).graph.initializer
        if each.external_data
    ]
    assert len(places) == 3
    assert all(int(place["offset"]) % 4096 == 0 and place["location"] == "weights.bin" for place in places)


@NEEDS_TILES
def test_weights_that_someone_else_takes_stay(tmp_path):
    nodes = [
        ("MatMul", ["x", "w"], "p", ""),
        ("Transpose", ["w"], "t", ""),
        ("MatMul", ["p", "t"], "y", ""),
    ]
    before, after, count, _ = split(tmp_path, nodes, taken_of(nodes))
    assert count == 1
    assert_same(before, after)


@NEEDS_TILES
def test_a_product_that_is_an_answer_stays_one(tmp_path):
    nodes = [("MatMul", ["x", "w"], "p", ""), ("Add", ["p", "b"], "y", "")]
    before, after, _, operators = split(tmp_path, nodes, taken_of(nodes), outputs=("y", "p"))
    assert operators == ["SplitMatMul", "Add"]
    assert_same(before, after)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("MatMul", ["x", "w"], "y", "")], {"w": matrix(96, 63)}),
        ([("MatMul", ["x", "w"], "y", "")], {"w": matrix(3, 96, 80)}),
        ([("MatMul", ["x", "w"], "y", "com.microsoft.other")], {"w": matrix(96, 80)}),
        ([("Transpose", ["x"], "t", ""), ("MatMul", ["x", "t"], "y", "")], {}),
        ([("Cast", ["x"], "d", ""), ("MatMul", ["d", "w"], "y", "")], {"w": matrix(96, 80).astype(np.float64)}),
    ],
)
def test_what_is_left_alone(tmp_path, nodes, constants):
    _, after, count, _ = split(tmp_path, nodes, constants)
    assert count == 0
    assert list(after.parent.iterdir()) == []


def test_weights_within_the_graph_are_left_alone(tmp_path):
    _, _, count, _ = split(tmp_path, CASES["alone"][0], {"w": CONSTANTS["w"]}, size_threshold=1 << 20)
    assert count == 0  # ONNX Runtime writes large ones beside it


def test_a_graph_with_graphs_inside_is_left_alone(tmp_path):
    before = write(tmp_path / "before", CASES["alone"][0], {"w": CONSTANTS["w"]})
    model = onnx.load(str(before), load_external_data=False)
    inner = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["z"])],
        "inner",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
    )
    model.graph.node.append(helper.make_node("If", ["c"], ["i"], then_branch=inner, else_branch=inner))
    before.write_bytes(model.SerializeToString())
    assert split_products(before, tmp_path / "model.onnx", "weights.bin") == 0


def test_weights_outside_of_the_folder_are_refused(tmp_path):
    before = write(tmp_path / "before", CASES["alone"][0], {"w": CONSTANTS["w"]})
    model = onnx.load(str(before), load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../all.bin"
    before.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="outside"):
        split_products(before, tmp_path / "model.onnx", "weights.bin")


@NEEDS_TILES
@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (2, 0), (3, 200)])
def test_any_number_of_rows(tmp_path, shape):
    nodes, _ = CASES["with its bias"]
    before, after, _, _ = split(tmp_path, nodes, taken_of(nodes))
    x = RANDOM.standard_normal((*shape, 96), dtype=np.float32)
    np.testing.assert_allclose(run(after, x)[0], run(before, x)[0], rtol=1e-4, atol=2e-5)


@NEEDS_TILES
def test_inputs_that_do_not_fit_are_an_error(tmp_path):
    nodes, _ = CASES["alone"]
    model = onnx.load(str(write(tmp_path / "before", nodes, taken_of(nodes))), load_external_data=False)
    model.graph.input[0].type.tensor_type.shape.dim[2].ClearField("dim_value")
    (tmp_path / "before" / "model.onnx").write_bytes(model.SerializeToString())
    split_products(tmp_path / "before" / "model.onnx", tmp_path / "model.onnx", "weights.bin")
    with pytest.raises(ort.capi.onnxruntime_pybind11_state.InvalidArgument, match="does not fit its weights"):
        run(tmp_path / "model.onnx", np.zeros((1, 2, 128), np.float32))

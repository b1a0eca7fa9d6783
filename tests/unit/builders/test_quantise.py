"""int8 inside: near to the plain graph, and no row knows of another."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from builders.export.optimise import WEIGHTS, optimise
from builders.export.quantise import NothingToQuantise, columns_in_int8, quantise, smoothing
from server.serving.batch_reading import _quantises

WIDTH, HIDDEN = 64, 96


def session(path):
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def graph_of(to, opset=17):
    """Two products of x (as query and key are), one of their sum, and one too small to be worth it."""
    chance = np.random.default_rng(0)
    shapes = {"A": (WIDTH, HIDDEN), "B": (WIDTH, HIDDEN), "C": (HIDDEN, WIDTH), "small": (WIDTH, 4)}
    weights = {name: chance.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    weights["C"][:, 3] = 0  # a column without any weight
    nodes = [
        helper.make_node("MatMul", ["x", "A"], ["a"], name="query"),
        helper.make_node("MatMul", ["x", "B"], ["b"], name="key"),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("MatMul", ["sum", "C"], ["c"], name="out"),
        helper.make_node("MatMul", ["c", "small"], ["d"], name="head"),
        helper.make_node("Concat", ["c", "d"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "tokens", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "tokens", WIDTH + 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, to)
    return to


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    plain = graph_of(folder / "plain.onnx")
    model = optimise(quantise(plain, folder / "int8.onnx"), folder)
    return session(plain), session(model), folder


def values(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def run(session, array):
    return session.run(None, {"x": array})[0]


def test_answers_are_near_to_the_plain_graphs(made):
    plain, quantised, _ = made
    x = values(3, 5, WIDTH)
    exact, found = run(plain, x), run(quantised, x)
    cosines = (exact * found).sum(-1) / np.linalg.norm(exact, axis=-1) / np.linalg.norm(found, axis=-1)
    assert cosines.min() > 0.9995
    assert not np.array_equal(exact, found)
    assert (found[..., 3] == 0).all()


@settings(deadline=None, max_examples=30)
@given(loud=st.sampled_from([0.0, 1e-30, 1e-3, 1.0, 1e4, 1e30]), rows=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_rows_answer_is_the_same_to_the_bit_whatever_is_beside_it(made, loud, rows, seed):
    _, quantised, _ = made
    x = values(rows, 4, WIDTH, seed=seed)
    x[1:] *= np.float32(loud)
    together = run(quantised, x)
    assert np.array_equal(together[:1], run(quantised, x[:1]))
    assert np.isfinite(together).all()


def test_batching_sees_no_graph_that_mixes_rows(made):
    _, _, folder = made
    assert not _quantises(folder / "model.onnx")


def test_equal_inputs_are_quantised_once_and_small_products_not_at_all(made):
    _, _, folder = made
    kinds = [node.op_type for node in onnx.load(folder / "int8.onnx").graph.node]
    assert kinds.count("QuantizeLinear") == 2
    assert kinds.count("MatMulIntegerToFloat") == 3
    assert kinds.count("MatMul") == 1


def test_the_large_matrices_are_bytes_in_the_file_that_is_mapped(made):
    _, _, folder = made
    outside = {
        each.name: each.data_type
        for each in onnx.load(folder / "model.onnx", load_external_data=False).graph.initializer
        if each.data_location == TensorProto.EXTERNAL
    }
    whole = {f"{product}/int8_weights" for product in ("query", "key", "out")}
    assert {name for name, kind in outside.items() if kind == TensorProto.INT8} == whole
    assert 3 * WIDTH * HIDDEN <= (folder / WEIGHTS).stat().st_size < 2 * 3 * WIDTH * HIDDEN


def test_the_same_graph_gives_the_same_bytes(made, tmp_path):
    _, _, folder = made
    again = optimise(quantise(folder / "plain.onnx", tmp_path / "int8.onnx"), tmp_path)
    assert (tmp_path / "int8.onnx").read_bytes() == (folder / "int8.onnx").read_bytes()
    assert again.read_bytes() == (folder / "model.onnx").read_bytes()


def feed_forward_of(to, activation, opset=17, gap=1.0):
    """Products around an activation function, with biases; a few channels of what goes in are loud."""
    chance = np.random.default_rng(3)
    weights = {
        "A": chance.standard_normal((WIDTH, HIDDEN)) / 8,
        "B": chance.standard_normal((HIDDEN, WIDTH)) / 8,
        "a": chance.standard_normal(HIDDEN) / 8,
        "b": chance.standard_normal(WIDTH) / 8,
        "root": np.sqrt(2),
        "one": gap,
        "half": 0.5,
    }
    curves = {
        "gelu": [
            helper.make_node("Div", ["h", "root"], ["scaled"]),
            helper.make_node("Erf", ["scaled"], ["erf"]),
            helper.make_node("Add", ["erf", "one"], ["gate"]),
            helper.make_node("Mul", ["h", "gate"], ["twice"]),
            helper.make_node("Mul", ["twice", "half"], ["g"]),
        ],
        "Gelu": [helper.make_node("Gelu", ["h"], ["g"])],
        "Relu": [helper.make_node("Relu", ["h"], ["g"])],
        "Tanh": [helper.make_node("Tanh", ["h"], ["g"])],
    }
    nodes = [
        helper.make_node("MatMul", ["x", "A"], ["xa"], name="up"),
        helper.make_node("Add", ["a", "xa"], ["h"]),
        *curves[activation],
        helper.make_node("MatMul", ["g", "B"], ["gb"], name="down"),
        helper.make_node("Add", ["gb", "b"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "feed forward",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "tokens", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "tokens", WIDTH])],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), to)
    return to


def loud_values(seed=5):
    x = values(4, 6, WIDTH, seed=seed)
    x[..., 7] *= 60
    return x


def cosine(one, other):
    return float(((one * other).sum(-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)).min())


@pytest.mark.parametrize(
    ("activation", "opset", "zero"), [("gelu", 17, 0), ("Gelu", 20, 0), ("Relu", 17, 0), ("Tanh", 17, 128)]
)
def test_behind_gelu_and_relu_all_of_uint8_is_used_and_the_bias_takes_the_offset(tmp_path, activation, opset, zero):
    plain = feed_forward_of(tmp_path / "plain.onnx", activation, opset)
    made = quantise(plain, tmp_path / "int8.onnx", [{"x": loud_values()}])
    graph = onnx.load(made).graph
    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    (rows,) = (node for node in graph.node if node.op_type == "QuantizeLinear" and node.output[0].startswith("g/"))
    assert constants[rows.input[2]] == zero
    assert sum(node.op_type == "Add" for node in graph.node) == (3 if activation == "gelu" else 2)
    x = loud_values(seed=6)
    assert cosine(run(session(plain), x), run(session(made), x)) > 0.9995


def test_what_only_looks_like_gelu_gets_no_bound(tmp_path):
    plain = feed_forward_of(tmp_path / "plain.onnx", "gelu", gap=0.8)  # goes far below -0.17
    made = quantise(plain, tmp_path / "int8.onnx")
    x = values(4, 6, WIDTH) * 3
    assert cosine(run(session(plain), x), run(session(made), x)) > 0.999


def test_loud_channels_are_found_on_samples_and_cost_less_accuracy(tmp_path):
    plain = feed_forward_of(tmp_path / "plain.onnx", "Tanh")
    x = loud_values(seed=6)
    exact = run(session(plain), x)
    smoothed = quantise(plain, tmp_path / "smoothed.onnx", [{"x": loud_values()}])
    without = quantise(plain, tmp_path / "without.onnx")
    gaps = [np.abs(run(session(made), x) - exact).max() for made in (smoothed, without)]
    assert gaps[0] < gaps[1] / 2
    assert quantise(plain, tmp_path / "again.onnx", [{"x": loud_values()}]).read_bytes() == smoothed.read_bytes()
    together = run(session(smoothed), x)
    assert np.array_equal(together[1:2], run(session(smoothed), x[1:2]))


def test_channels_that_are_alike_are_left_alone_and_others_are_divided_by_powers_of_two():
    even, weights = np.float32([1, 2, 1.5, 1]), np.float32([1, 1, 1, 1])
    assert smoothing(even, weights) is None
    factors = smoothing(np.float32([1, 1, 64, 1]), weights)
    assert (np.log2(factors) == np.rint(np.log2(factors))).all()
    assert factors.argmax() == 2
    assert smoothing(np.zeros(4, np.float32), weights) is None


def test_a_large_table_of_embeddings_becomes_int8_rows(tmp_path):
    table = values(4097, 256) * np.float32(np.logspace(-3, 3, 4097))[:, None]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["found"]),
        helper.make_node("MatMul", ["found", "W"], ["y"], name="product"),
    ]
    graph = helper.make_graph(
        nodes,
        "embed",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "tokens", 32])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(values(256, 32), "W")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "plain")
    made = quantise(tmp_path / "plain", tmp_path / "int8.onnx")
    assert made.stat().st_size < table.nbytes / 3.5
    assert all(
        len(each.raw_data) % 64 == 0 for each in onnx.load(made).graph.initializer if each.dims
    )  # builders say why
    ids = np.random.default_rng(0).integers(0, 4097, (3, 7))
    exact, found = (session(path).run(None, {"ids": ids})[0] for path in (tmp_path / "plain", made))
    assert cosine(exact, found) > 0.9995


def test_newer_opsets(made, tmp_path):
    plain, _, _ = made
    newer = quantise(graph_of(tmp_path / "plain.onnx", opset=20), tmp_path / "int8.onnx")
    x = values(2, 3, WIDTH)
    assert np.abs(run(session(newer), x) - run(plain, x)).max() < 0.02 * np.abs(run(plain, x)).max()


def test_a_graph_without_products_is_refused(tmp_path):
    model = onnx.load(graph_of(tmp_path / "plain.onnx"))
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Identity", ["x"], ["y"]))
    onnx.save(model, tmp_path / "none.onnx")
    with pytest.raises(NothingToQuantise, match="would change nothing"):
        quantise(tmp_path / "none.onnx", tmp_path / "int8.onnx")


def test_a_matrix_comes_back_within_half_a_step():
    weights = values(50, 7) * np.float32([1, 10, 100, 1e-3, 1, 1, 0])
    numbers, scales = columns_in_int8(weights)
    assert np.abs(numbers).max() == 127
    assert (np.abs(numbers * scales - weights) <= scales / 2 * 1.001).all()

"""What is known of the activations of an ONNX graph: which products they go into, how large they get, their bounds."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from builders.pipeline.extras import need

Floats = npt.NDArray[np.float32]
LEAST_OF_GELU: Final = -0.17
"""GELU's minimum is -0.16997."""
_LEAST_WEIGHTS: Final = 4096
"""Below that a product costs less than quantising its input."""
_LEAST_TABLE: Final = 1 << 20
"""Below that a table takes no memory worth speaking of."""
_STANDARD: Final = frozenset({"", "ai.onnx"})
_FLOAT: Final = 1  # TensorProto.FLOAT


class Graph:
    """A plain graph, to look things up in: who made a value, who takes it, what a constant holds."""

    def __init__(self, onnx: Any, model: Any) -> None:
        self._onnx = onnx
        self._weights = {each.name: each for each in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._takers: dict[str, list[Any]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._takers.setdefault(name, []).append(node)
        self._results = {each.name for each in model.graph.output}
        self.opset = max((each.version for each in model.opset_import if each.domain in _STANDARD), default=0)
        self.products = [node for node in model.graph.node if self.is_product(node)]
        """MatMuls of anything with a large FP32 matrix."""

    def is_product(self, node: Any) -> bool:
        """Whether a node is such a MatMul."""
        matrix = self._weights.get(node.input[1]) if node.op_type == "MatMul" else None
        if matrix is None or matrix.data_type != _FLOAT or len(matrix.dims) != 2:
            return False
        return bool(matrix.dims[0] * matrix.dims[1] >= _LEAST_WEIGHTS)

    def is_look_up(self, node: Any) -> bool:
        """Whether a node takes rows from a large FP32 table."""
        table = self._weights.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.data_type != _FLOAT or len(table.dims) != 2:
            return False
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        is_only_looked_up = all(taker.op_type == "Gather" for taker in self._takers[node.input[0]])
        return bool(axis == 0 and is_only_looked_up and table.dims[0] * table.dims[1] >= _LEAST_TABLE)

    def constant(self, name: str) -> Floats:
        """An initializer's content."""
        array: Floats = self._onnx.numpy_helper.to_array(self._weights[name])
        return array

    def number(self, name: str) -> float | None:
        """A constant of one element, made by an initializer or a node; None for everything else."""
        node = self._makers.get(name)
        if name in self._weights:
            array = self.constant(name)
        elif node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
            array = self._onnx.numpy_helper.to_array(node.attribute[0].t)
        else:
            return None
        return float(array.reshape(-1)[0]) if array.size == 1 else None

    def maker(self, name: str, kind: str) -> Any | None:
        """The node that makes a value, if it is of that kind."""
        node = self._makers.get(name)
        return node if node is not None and node.op_type == kind else None

    def largest_weights(self, values: str) -> Floats:
        """The largest |weight| that each channel of `values` meets, over all its products. FP32 [channels]."""
        matrices = [self.constant(node.input[1]) for node in self.products if node.input[0] == values]
        found: Floats = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
        return found

    def bias_behind(self, values: str) -> str | None:
        """The initializer that is added to `values`, if that is all that happens to it, and to it alone."""
        takers = self._takers.get(values, [])
        if len(takers) != 1 or takers[0].op_type != "Add" or values in self._results:
            return None
        (other,) = [name for name in takers[0].input if name != values] or [""]
        is_bias = other in self._weights and len(self._weights[other].dims) == 1
        return other if is_bias and len(self._takers[other]) == 1 else None


def least_value(graph: Graph, values: str) -> float | None:
    """A bound below `values` that follows from how they are made: behind GELU and ReLU. None: nothing is known."""
    if graph.maker(values, "Relu") is not None:
        return 0.0
    if graph.maker(values, "Gelu") is not None or _is_gelu(graph, values):
        return LEAST_OF_GELU
    return None


def _is_gelu(graph: Graph, values: str) -> bool:
    """Whether `values` = (h x (erf(h / sqrt 2) + 1)) x 0.5, as torch exports it."""
    inner = _beside(graph, values, "Mul", 0.5)
    product = graph.maker(inner, "Mul") if inner else None
    if product is None:
        return False
    for plain, gate in (product.input, reversed(product.input)):
        curve = _beside(graph, gate, "Add", 1.0)
        erf = graph.maker(curve, "Erf") if curve else None
        if erf is None:
            continue
        scaled = _beside(graph, erf.input[0], "Div", float(np.sqrt(2))) or _beside(
            graph, erf.input[0], "Mul", float(np.sqrt(0.5))
        )
        if scaled == plain:
            return True
    return False


def _beside(graph: Graph, values: str, kind: str, number: float) -> str | None:
    """The other input of the node that makes `values`, if it is of that kind and one input is that number."""
    node = graph.maker(values, kind)
    if node is None:
        return None
    for at, name in enumerate(node.input):
        known = graph.number(name)
        if known is not None and abs(known - number) < 1e-3:  # exporters round
            return str(node.input[1 - at])
    return None


def loudness(plain: Path, names: Sequence[str], samples: Iterable[Mapping[str, npt.NDArray[Any]]]) -> dict[str, Floats]:
    """The largest |x| of each channel of the values `names` over `samples`, FP32 [channels] each; {} without."""
    onnx = need("onnx")
    found: dict[str, Floats] = {}
    session = None
    for sample in samples:
        if session is None:
            session = _with_outputs(onnx, plain, names)
        for name, values in zip(names, session.run(list(names), dict(sample)), strict=True):
            loud: Floats = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            found[name] = np.maximum(found[name], loud) if name in found else loud
    return found


def _with_outputs(onnx: Any, plain: Path, names: Sequence[str]) -> ort.InferenceSession:
    """A session of the graph that also gives the values `names`; on one thread, so that sums have one order."""
    model = onnx.load(str(plain))
    known = {each.name for each in model.graph.output}
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

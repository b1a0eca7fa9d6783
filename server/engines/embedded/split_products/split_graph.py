"""Puts split matrix products into a graph that ONNX Runtime has optimised, whose weights are in a file beside it.

A `MatMul` by constant FP32 weights becomes `SplitMatMul` (split_matmul_op.c), with the bias that follows it and, where
that comes with the bias, GELU. All else stays as it is.
"""

import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from server.engines.embedded.split_products.graph_schema import EXTERNAL, FLOAT, UINT16, model_class
from server.engines.embedded.split_products.split_weights import Floats, split_weights

DOMAIN: Final = "roundhouse"
COUNT: Final = "roundhouse.split_products"
"""In a graph's metadata: how many products were split."""
LEAST_SIDE: Final = 64
"""Of a matrix, in either direction: smaller ones leave most of a tile empty."""
_PAGE: Final = 4096
_WITH_BIAS: Final = {("", "Add"): "SplitMatMul", ("com.microsoft", "BiasGelu"): "SplitMatMulGelu"}
"""What a product becomes with the node behind it, by that one's domain and operator."""


def split_products(source: Path, target: Path, weights: str) -> int:
    """Write `source` to `target` with split products, and all its weights to the file `weights` beside `target`.

    Returns how many products were split; where that is none, nothing is written. Graphs with graphs inside (loops, ifs)
    are left alone: those see the outer one's weights.

    Raises OSError, and ValueError for a graph that points to weights outside of its folder.
    """
    model = model_class().FromString(source.read_bytes())
    if any(attribute.g or attribute.graphs for node in model.graph.node for attribute in node.attribute):
        return 0
    split = _Split(model.graph)
    if not split.matrices:
        return 0
    if not any(each.domain == DOMAIN for each in model.opset_import):
        model.opset_import.add(domain=DOMAIN, version=1)
    model.metadata_props.add(key=COUNT, value=str(split.count))
    with (target.parent / weights).open("wb") as file:
        _write_weights(model.graph, split.matrices, _WeightsBeside(source), file, weights)
    target.write_bytes(model.SerializeToString())
    return split.count


class _Split:
    """Changes the nodes of a graph. Weights that no node takes any more are gone from it, their split names are new."""

    def __init__(self, graph: Any) -> None:
        self._constants: Final = {tensor.name: tensor for tensor in graph.initializer}
        self._takers: Final[dict[str, list[Any]]] = {}
        for node in graph.node:
            for name in node.input:
                self._takers.setdefault(name, []).append(node)
        self._outputs: Final = {value.name for value in graph.output}
        self.matrices: dict[str, Any] = {}
        """The tensors to split, by the names of what they become."""
        self.count = 0
        for node in graph.node:
            if node.op_type == "MatMul" and not node.domain and self._is_splittable(node.input[1]):
                self._split(graph, node)
                self.count += 1
        kept = [node for node in graph.node if node.op_type]  # others were taken in by a product
        del graph.node[:]
        graph.node.extend(kept)
        taken = Counter(name for node in graph.node for name in node.input)
        constants = [tensor for tensor in graph.initializer if taken[tensor.name] or tensor.name in self._outputs]
        del graph.initializer[:]
        graph.initializer.extend(constants)

    def _is_splittable(self, name: str) -> bool:
        tensor = self._constants.get(name)
        return (
            tensor is not None
            and tensor.data_type == FLOAT
            and tensor.data_location == EXTERNAL
            and len(tensor.dims) == 2
            and min(tensor.dims) >= LEAST_SIDE
        )

    def _split(self, graph: Any, node: Any) -> None:
        x, matrix = node.input
        columns = self._constants[matrix].dims[1]
        name = f"{matrix}/split"
        self.matrices[name] = self._constants[matrix]
        bias, operator, output = self._take_in(node, columns) or (self._no_bias(graph, columns), "SplitMatMul", None)
        del node.input[:]
        node.input.extend([x, name, bias])
        node.output[0], node.op_type, node.domain = output or node.output[0], operator, DOMAIN

    def _take_in(self, node: Any, columns: int) -> tuple[str, str, str] | None:
        """Bias, operator and output of a product with the node behind it, which is empty then. None: it stays alone."""
        product = node.output[0]
        takers = self._takers.get(product, [])
        if len(takers) != 1 or product in self._outputs:
            return None
        (taker,) = takers
        operator = _WITH_BIAS.get((taker.domain, taker.op_type))
        others = [name for name in taker.input if name != product]
        if operator is None or len(others) != 1 or not self._is_vector(others[0], columns):
            return None
        output = taker.output[0]
        taker.Clear()
        return others[0], operator, output

    def _is_vector(self, name: str, size: int) -> bool:
        tensor = self._constants.get(name)
        return tensor is not None and tensor.data_type == FLOAT and list(tensor.dims) == [size]

    def _no_bias(self, graph: Any, columns: int) -> str:
        name = f"roundhouse/zeros/{columns}"
        if name not in self._constants:
            zeros = bytes(4 * columns)
            self._constants[name] = graph.initializer.add(name=name, data_type=FLOAT, dims=[columns], raw_data=zeros)
        return name


class _WeightsBeside:
    """The weights of a graph that are in files beside it: mapped, as long as an array looks at them."""

    def __init__(self, graph: Path) -> None:
        self._folder: Final = graph.parent
        self._files: dict[str, mmap.mmap] = {}

    def of(self, tensor: Any) -> npt.NDArray[np.uint8]:
        """The bytes of a tensor."""
        where = {entry.key: entry.value for entry in tensor.external_data}
        name = where["location"]
        if Path(name).name != name:
            raise ValueError(f"weights in {name!r}, outside of the graph's folder")
        if name not in self._files:
            with (self._folder / name).open("rb") as file:
                self._files[name] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        offset = int(where.get("offset", 0))
        return np.frombuffer(self._files[name], np.uint8, int(where["length"]), offset)


def _write_weights(graph: Any, matrices: dict[str, Any], before: _WeightsBeside, file: BinaryIO, name: str) -> None:
    for tensor in graph.initializer:
        if tensor.data_location == EXTERNAL:
            _append(tensor, before.of(tensor), file, name)
    for split, matrix in _with_floats(matrices, before):
        halves = split_weights(matrix)
        tensor = graph.initializer.add(name=split, data_type=UINT16, dims=halves.shape, data_location=EXTERNAL)
        _append(tensor, halves, file, name)


def _with_floats(matrices: dict[str, Any], before: _WeightsBeside) -> Iterator[tuple[str, Floats]]:
    for split, tensor in matrices.items():
        yield split, before.of(tensor).view(np.float32).reshape(tensor.dims)


def _append(tensor: Any, data: npt.NDArray[Any], file: BinaryIO, name: str) -> None:
    """Pages of their own: the runtime maps tensors one by one."""
    file.write(bytes(-file.tell() % _PAGE))
    del tensor.external_data[:]
    for key, value in (("location", name), ("offset", str(file.tell())), ("length", str(data.nbytes))):
        tensor.external_data.add(key=key, value=value)
    file.write(data.data)

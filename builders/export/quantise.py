"""The int8 form of a plain ONNX graph: weights per column, activations per row, so that no row depends on another.

What counts on a CPU are products of activations with weights. Each becomes

    amount = max |x| over the row         (a token's: every row is quantised by itself)
    q      = round(127 x / amount) + 128  (uint8)
    y      = amount x column scale x (q - 128) @ W8

with integers multiplied and summed exactly (VNNI and AMX instructions of newer x86 CPUs). Tables of embeddings are kept
as int8 rows with a scale each. Everything else, from attention to normalisation, stays as it is. Two things make rows
of activations finer:

- A few channels are much louder than all others, in every token (normalised activations of BERT-like models). With
  `samples` they are found, divided by a power of two, and their weights multiplied by it (SmoothQuant, arXiv
  2211.10438).
- What comes out of GELU is never below -0.17: there the whole range of uint8 stands for what lies above.

Why not what ONNX Runtime's own tools write: `quantize_dynamic` takes one scale over a whole tensor, so that an answer
depends on what it was batched with; static scales cannot follow a row that is unlike those they were made from.
`docs/tuning.md` has the figures.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import numpy.typing as npt

from builders.export.activations import Graph, least_value, loudness
from builders.pipeline.extras import need

Floats = npt.NDArray[np.float32]
_TOP: Final = 127
"""The largest int8 of a weight, and of an activation around its zero."""
_ALL: Final = 255
"""The largest uint8: of an activation whose least value is known."""
_ZERO: Final = 128
"""The uint8 that stands for an activation of 0."""
_FAINTEST: Final = 1e-10
"""What a row of zeros is divided by."""
_UNEVEN: Final = 4
"""A channel so many times as loud as the median one is worth a multiplication."""
_SMOOTHING: Final = 0.8
"""How much of a channel's loudness goes into its weights. MiniLM's least cosine: 0.992 with none, 0.998 with this."""
_LINE_FLOATS: Final = 16
"""FP32 values in 64 bytes: a cache line, and the widest vector of an x86 processor."""
_DOMAIN: Final = "com.microsoft"
_AXES_ARE_INPUTS: Final = 18
"""The opset from which on reductions take their axes as an input."""


class NothingToQuantise(click.ClickException):
    """The graph has nothing that int8 would make smaller or faster."""


def quantise(plain: Path, to: Path, samples: Iterable[Mapping[str, npt.NDArray[Any]]] = ()) -> Path:
    """Write the int8 form of `plain` to `to`; returns `to`. Run it before `optimise`.

    `samples` are inputs of the graph, by name, on which loud channels are looked for; the same give the same bytes.

    Raises:
        NothingToQuantise: the graph has no product with weights that would be worth it.
    """
    onnx = need("onnx")
    model = onnx.load(str(plain))
    graph = Graph(onnx, model)
    if not graph.products:
        raise NothingToQuantise("the graph has no large matrix product: int8 would change nothing, build it in fp32")
    rewriting = _Rewriting(onnx, graph, loudness(plain, sorted({each.input[0] for each in graph.products}), samples))
    nodes: list[Any] = []
    for node in model.graph.node:
        if graph.is_product(node):
            nodes += rewriting.product(node)
        elif graph.is_look_up(node):
            nodes += rewriting.look_up(node)
        else:
            nodes.append(rewriting.other(node))
    used = {name for node in nodes for name in node.input}
    kept = [each for each in model.graph.initializer if each.name in used]
    for field, content in ((model.graph.node, nodes), (model.graph.initializer, [*kept, *rewriting.constants()])):
        copies = [_copy(each) for each in content]  # what is deleted from a message must not be used any more
        del field[:]
        field.extend(copies)
    if _DOMAIN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
    to.write_bytes(model.SerializeToString(deterministic=True))
    return to


def columns_in_int8(weights: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """FP32 [rows, columns] to int8 and the scale of each column, FP32 [columns]: their product is near to `weights`."""
    scales: Floats = np.abs(weights).max(axis=0) / np.float32(_TOP)
    scales[scales == 0] = 1
    return np.rint(weights / scales).astype(np.int8), scales


def smoothing(loud: Floats, weights: Floats) -> Floats | None:
    """What each channel is divided by: powers of two around 1, or None where channels are alike. FP32 [channels].

    `loud`: the largest |x| of each channel. `weights`: the largest weight of each. Powers of two, since dividing by
    them rounds nothing, and since the figures they come from may differ in their last bits from host to host.
    """
    if not loud.any() or loud.max() <= _UNEVEN * np.median(loud):
        return None
    least = np.float32(1e-5)
    factors = np.maximum(loud, least) ** _SMOOTHING / np.maximum(weights, least) ** (1 - _SMOOTHING)
    logs = np.log2(factors)
    powers: Floats = np.exp2(np.rint(logs - logs.mean())).astype(np.float32)
    return powers


class _Rewriting:
    """Writes the nodes that stand in for products, and remembers the constants that they need."""

    def __init__(self, onnx: Any, graph: Graph, loud: Mapping[str, Floats]) -> None:
        self._graph = graph
        self._loud = loud
        self._node = onnx.helper.make_node
        self._numpy = onnx.numpy_helper
        self._least: dict[str, float | None] = {}
        self._factors: dict[str, Floats | None] = {}
        self._constants: dict[str, npt.NDArray[Any]] = {}
        self._moved: dict[str, Floats] = {}

    def product(self, node: Any) -> Iterator[Any]:
        """The nodes for one product; the input's own come first, once for all products of the same input."""
        values, matrix, result = node.input[0], node.input[1], node.output[0]
        if values not in self._least:
            yield from self._rows(values)
        weights = self._graph.constant(matrix)
        factors, least = self._factors[values], self._least[values]
        if factors is not None:
            weights = weights * factors[:, None]
        place = f"{node.name or result}/int8"
        integers, columns = columns_in_int8(weights)
        top = _TOP if least is None else _ALL
        edges = [
            f"{values}/int8_rows",
            self._put(f"{place}_weights", integers),
            self._put("int8/one", np.float32(1)),
            self._put(f"{place}_scales", columns / np.float32(top)),
            self._zero(least),
        ]
        yield self._node("MatMulIntegerToFloat", edges, [f"{place}_raw"], name=place, domain=_DOMAIN)
        if least is None:
            yield self._node("Mul", [f"{place}_raw", f"{values}/int8_amount"], [result], name=f"{place}_amount")
            return
        offset: Floats = (integers * columns).sum(axis=0, dtype=np.float32) * np.float32(least)
        if self._graph.bias_behind(result) is not None:
            self._moved[result] = offset  # into the bias that is added next
            yield self._node("Mul", [f"{place}_raw", f"{values}/int8_amount"], [result], name=f"{place}_amount")
            return
        yield self._node("Mul", [f"{place}_raw", f"{values}/int8_amount"], [f"{place}_above"], name=f"{place}_amount")
        yield self._node("Add", [f"{place}_above", self._put(f"{place}_offset", offset)], [result], name=f"{place}_sum")

    def look_up(self, node: Any) -> Iterator[Any]:
        """The nodes for a look-up in a table of rows (embeddings): int8 rows, each with a scale of its own."""
        table, wanted, result = node.input[0], node.input[1], node.output[0]
        name = f"{table}/int8"
        if f"{name}_rows" not in self._constants:
            integers, scales = columns_in_int8(self._graph.constant(table).T)
            self._put(f"{name}_rows", np.ascontiguousarray(integers.T))
            self._put(f"{name}_scales", _aligned(scales)[:, None])
        place = f"{node.name or result}/int8"
        yield self._node("Gather", [f"{name}_rows", wanted], [f"{place}_found"], name=place, axis=0)
        yield self._node("Gather", [f"{name}_scales", wanted], [f"{place}_scale"], name=f"{place}_scale", axis=0)
        yield self._node("Cast", [f"{place}_found"], [f"{place}_whole"], name=f"{place}_whole", to=1)
        yield self._node("Mul", [f"{place}_whole", f"{place}_scale"], [result], name=f"{place}_product")

    def other(self, node: Any) -> Any:
        """A node that is no product: as it is, but for a bias that takes a product's offset with it."""
        moved = [name for name in node.input if name in self._moved]
        if not moved:
            return node
        bias = self._graph.bias_behind(moved[0])
        assert bias is not None, "an offset was moved to no bias. This is a bug."
        with_offset = self._put(f"{bias}/int8", self._graph.constant(bias) + self._moved[moved[0]])
        changed = _copy(node)
        changed.input[list(changed.input).index(bias)] = with_offset
        return changed

    def constants(self) -> Iterator[Any]:
        """Initializers, in order of first use."""
        for name, array in self._constants.items():
            yield self._numpy.from_array(array, name)

    def _rows(self, values: str) -> Iterator[Any]:
        """Nodes that make uint8 rows of an FP32 tensor, and the amount of each row."""
        least = self._least[values] = least_value(self._graph, values)
        name = f"{values}/int8"
        even = values
        loud = self._loud.get(values)
        factors = None if loud is None or least is not None else smoothing(loud, self._graph.largest_weights(values))
        self._factors[values] = factors
        if factors is not None:
            even = f"{name}_even"
            yield self._node("Mul", [values, self._put(f"{name}_factors", 1 / factors)], [even], name=even)
        if least is None:
            shifted, largest = even, f"{name}_abs"
            yield self._node("Abs", [even], [largest], name=largest)
        else:
            shifted = largest = f"{name}_above"
            yield self._node("Sub", [even, self._put(f"{name}_least", np.float32(least))], [shifted], name=shifted)
        yield self._largest(largest, f"{name}_bare")
        faintest = self._put("int8/faintest", np.float32(_FAINTEST))
        yield self._node("Max", [f"{name}_bare", faintest], [f"{name}_amount"], name=f"{name}_amount")
        yield self._node("Div", [shifted, f"{name}_amount"], [f"{name}_share"], name=f"{name}_share")
        top = _TOP if least is None else _ALL
        step = self._put(f"int8/step_{top}", np.float32(1 / top))
        edges = [f"{name}_share", step, self._zero(least)]
        yield self._node("QuantizeLinear", edges, [f"{name}_rows"], name=f"{name}_rows")

    def _largest(self, values: str, to: str) -> Any:
        if self._graph.opset >= _AXES_ARE_INPUTS:
            axes = self._put("int8/last", np.array([-1], np.int64))
            return self._node("ReduceMax", [values, axes], [to], name=to, keepdims=1)
        return self._node("ReduceMax", [values], [to], name=to, axes=[-1], keepdims=1)

    def _zero(self, least: float | None) -> str:
        return self._put("int8/middle", np.uint8(_ZERO)) if least is None else self._put("int8/zero", np.uint8(0))

    def _put(self, name: str, value: np.generic | npt.NDArray[Any]) -> str:
        self._constants.setdefault(name, np.asarray(value))
        return name


def _aligned(scales: Floats) -> Floats:
    """The same, and zeros up to a multiple of 64 bytes.

    Runtimes that write what they have packed for a processor put it behind what came before: after a constant of
    another length none of it is where vector instructions could read it.
    """
    return np.pad(scales, (0, -len(scales) % _LINE_FLOATS))


def _copy(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy

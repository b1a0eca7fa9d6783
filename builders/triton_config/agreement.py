"""Does a step's config say what its ONNX graph says? Names, datatypes, ranks and fixed sizes are compared.

Triton finds out when it loads the step, on the host that serves; a build finds out here. It is the one check of a GPU
config that needs no GPU.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from builders.pipeline.extras import need
from server.archive.model_config import render

Edge: TypeAlias = tuple[str, tuple[int | None, ...] | None]
"""Triton's datatype (`TYPE_FP32`) and the shape, None for a dynamic axis; no shape where the graph tells none."""

_TYPE_BY_ONNX = {
    "FLOAT": "TYPE_FP32",
    "FLOAT16": "TYPE_FP16",
    "DOUBLE": "TYPE_FP64",
    "BFLOAT16": "TYPE_BF16",
    "INT8": "TYPE_INT8",
    "INT16": "TYPE_INT16",
    "INT32": "TYPE_INT32",
    "INT64": "TYPE_INT64",
    "UINT8": "TYPE_UINT8",
    "UINT16": "TYPE_UINT16",
    "UINT32": "TYPE_UINT32",
    "UINT64": "TYPE_UINT64",
    "BOOL": "TYPE_BOOL",
    "STRING": "TYPE_STRING",
}


class ConfigDisagrees(click.ClickException):
    """A config and its graph do not fit together; the text lists every difference."""


def check_agreement(config: Any, graph: Path) -> None:
    """Compare `config` (ModelConfig, or the text of a config.pbtxt) with the ONNX file `graph`.

    Raises:
        ConfigDisagrees: it does not parse with Triton's schema, or differs from the graph.
    """
    message = parsed(config)
    onnx = need("onnx")
    found = onnx.load(str(graph), load_external_data=False).graph
    weights = {each.name for each in found.initializer}
    inputs = _edges(onnx, (each for each in found.input if each.name not in weights))
    problems = disagreements(message, inputs, _edges(onnx, found.output))
    if problems:
        raise ConfigDisagrees(f"config {message.name!r} does not fit {graph.name}: {'; '.join(problems)}")


def check_archive(root: Path) -> list[str]:
    """Check every config of an unpacked archive: all parse, and those beside a graph agree with it.

    Returns the names of the steps whose graph was compared. Raises ConfigDisagrees.
    """
    compared = []
    for file in sorted(root.glob("*/config.pbtxt")):
        message = parsed(file.read_text())
        graphs = sorted(file.parent.glob("[0-9]*/model.onnx"))
        for graph in graphs:
            check_agreement(message, graph)
        compared += [file.parent.name] if graphs else []
    return compared


def parsed(config: Any) -> Any:
    """The config as Triton reads it: through text and its own schema. Raises ConfigDisagrees."""
    text = config if isinstance(config, str) else render(config)
    try:
        return text_format.Parse(text, pb.ModelConfig())
    except text_format.ParseError as error:
        raise ConfigDisagrees(f"the config does not parse: {error}") from error


def disagreements(config: Any, inputs: Mapping[str, Edge], outputs: Mapping[str, Edge]) -> list[str]:
    """What differs, in words; [] where all is well. An output of the graph may be missing in the config. Pure."""
    problems = [f"the graph's input {name!r} is not in the config" for name in _missing(inputs, config.input)]
    for kind, fields, edges in (("input", config.input, inputs), ("output", config.output, outputs)):
        for field in fields:
            if field.name not in edges:
                problems.append(f"{kind} {field.name!r} is not in the graph, which has {', '.join(edges)}")
            else:
                problems += [f"{kind} {field.name!r} {text}" for text in _differs(config, field, edges[field.name])]
    return problems


def _missing(edges: Mapping[str, Edge], fields: Iterable[Any]) -> list[str]:
    return sorted(set(edges) - {field.name for field in fields})


def _differs(config: Any, field: Any, edge: Edge) -> list[str]:
    data_type, shape = edge
    problems = []
    if pb.DataType.Name(field.data_type) != data_type:
        problems.append(f"is {pb.DataType.Name(field.data_type)} in the config and {data_type} in the graph")
    if shape is None:  # exporters do not always infer an output's shape; Triton then believes the config
        return problems
    dims = list(field.reshape.shape) if field.HasField("reshape") else list(field.dims)
    # A batch of at most one is a batch of one: a graph may have it fixed.
    batch = [1 if config.max_batch_size == 1 and shape[:1] == (1,) else -1] if config.max_batch_size > 0 else []
    declared = [*batch, *dims]
    if len(declared) != len(shape):
        return [*problems, f"has {len(declared)} axes in the config (batch included) and {len(shape)} in the graph"]
    return problems + _axes_that_differ(declared, shape, is_batched=config.max_batch_size > 0)


def _axes_that_differ(declared: Sequence[int], shape: Sequence[int | None], *, is_batched: bool) -> list[str]:
    problems = []
    for axis, (said, fixed) in enumerate(zip(declared, shape, strict=True)):
        if fixed is None or said == fixed:
            continue
        what = "the batch axis" if is_batched and axis == 0 else f"axis {axis}"
        problems.append(f"is fixed to {fixed} on {what} in the graph, and {said} in the config")
    return problems


def _edges(onnx: Any, values: Iterable[Any]) -> dict[str, Edge]:
    edges: dict[str, Edge] = {}
    for value in values:
        tensor = value.type.tensor_type
        onnx_type = onnx.TensorProto.DataType.Name(tensor.elem_type)
        shape = tuple(_size(dim) for dim in tensor.shape.dim) if tensor.HasField("shape") else None
        edges[value.name] = _TYPE_BY_ONNX.get(onnx_type, onnx_type), shape
    return edges


def _size(dim: Any) -> int | None:
    return int(dim.dim_value) if dim.HasField("dim_value") else None

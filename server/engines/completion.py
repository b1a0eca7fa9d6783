"""Finding out, from a model's files, what its `config.pbtxt` leaves out: a `CompleteConfig` for both engines.

The rules are Triton's: what the config says stands; what it does not say comes from the model. Blocking.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInput, ModelOutput

from server.archive.model_config import TYPE_BY_DATATYPE, backend_of
from server.domain.errors import InvalidArchive, UnsupportedModel

Edge: TypeAlias = Any
"""onnxruntime's NodeArg: `name`, `type`, `shape`."""

_BACKEND_BY_FILE: Final = (
    ("model.onnx", "onnxruntime"),
    ("model.py", "python"),
    ("model.plan", "tensorrt"),
    ("model.dali", "dali"),
    ("model.pt", "pytorch"),
    ("model.savedmodel", "tensorflow"),
    ("model.graphdef", "tensorflow"),
)
_DEFAULT_MAX_BATCH_SIZE: Final = 4  # of Triton's onnxruntime backend (`default-max-batch-size`)


def complete(directory: Path, config: ModelConfig) -> ModelConfig:
    """A copy of `config` in which backend, inputs, outputs and `max_batch_size` are filled in where they can be.

    Raises:
        InvalidArchive: no model file is known, the model does not open, or it contradicts the config.
        UnsupportedModel: nothing here can look into a model of this kind; its config must be written out.
    """
    full = ModelConfig()
    full.CopyFrom(config)
    full.name = config.name or directory.name
    if not backend_of(full):
        full.backend = _backend_by_file(directory, full)
    backend = backend_of(full)
    if backend == "onnxruntime":
        return _complete_onnx(directory, full)
    if backend == "python":
        return _complete_python(directory, full)
    raise UnsupportedModel(
        f"model {full.name!r} has an incomplete config.pbtxt, and models of backend {backend!r} cannot be looked into "
        "here; write its inputs and outputs into config.pbtxt"
    )


def _backend_by_file(directory: Path, config: ModelConfig) -> str:
    from server.engines.embedded.config.versions import version_folder

    folder = version_folder(directory, config)
    suffix = Path(config.default_model_filename).suffix
    for name, backend in _BACKEND_BY_FILE:
        if (suffix and name.endswith(suffix)) or (folder / name).exists():
            return backend
    raise InvalidArchive(
        f"model {config.name!r} names no backend, and {folder.name}/ holds no model file that tells it "
        f"({', '.join(name for name, _ in _BACKEND_BY_FILE)})"
    )


def _complete_python(directory: Path, config: ModelConfig) -> ModelConfig:
    from server.engines.embedded.python_steps.auto_complete import auto_complete

    return auto_complete(directory, config)


def _complete_onnx(directory: Path, config: ModelConfig) -> ModelConfig:
    inputs, outputs = _onnx_edges(directory, config)
    if _is_unsaid(config) and _has_batch_axis([*inputs, *outputs]):
        config.max_batch_size = _DEFAULT_MAX_BATCH_SIZE
    _fill(config.input, inputs, config, ModelInput)
    _fill(config.output, outputs, config, ModelOutput)
    return config


def _is_unsaid(config: ModelConfig) -> bool:
    """Whether the batch size is open: tensors that are written out without one mean that there is no batch axis."""
    return config.max_batch_size == 0 and not any(tensor.dims for tensor in (*config.input, *config.output))


def _has_batch_axis(edges: Sequence[Edge]) -> bool:
    return all(edge.shape and not isinstance(edge.shape[0], int) for edge in edges)


def _onnx_edges(directory: Path, config: ModelConfig) -> tuple[list[Edge], list[Edge]]:
    """The graph's inputs and outputs. The session lives for this look only, unoptimised, so it opens quickly."""
    import onnxruntime as ort

    from server.engines.embedded.config.versions import model_file

    path = model_file(directory, config, "model.onnx")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = " ".join(str(error).split()).replace(f"{directory}/", "")
        raise InvalidArchive(f"model {config.name!r}: ONNX Runtime refused the model: {reason}") from error
    return session.get_inputs(), session.get_outputs()


def _fill(tensors: Any, edges: Sequence[Edge], config: ModelConfig, kind: type[ModelInput | ModelOutput]) -> None:
    """Add the tensors that the config does not have, and what is missing in those that it has."""
    by_name = {tensor.name: tensor for tensor in tensors}
    is_listed = bool(tensors)
    for edge in edges:
        tensor = by_name.get(edge.name)
        if tensor is None:
            if is_listed and kind is ModelOutput:  # a config may use some of the outputs only
                continue
            tensor = tensors.add(name=edge.name)
        if tensor.data_type == DataType.TYPE_INVALID:
            tensor.data_type = _data_type(config, edge)
        if not tensor.dims and not tensor.HasField("reshape"):
            _fill_dims(tensor, edge, config)


def _fill_dims(tensor: Any, edge: Edge, config: ModelConfig) -> None:
    shape = [size if isinstance(size, int) and size >= 0 else -1 for size in edge.shape or ()]
    dims = shape[1:] if config.max_batch_size > 0 else shape
    if dims:
        tensor.dims.extend(dims)
        return
    # Triton wants at least one dimension: a scalar per request is written as dims [1] reshaped to nothing.
    tensor.dims.append(1)
    tensor.reshape.shape.extend(())
    tensor.reshape.SetInParent()


def _data_type(config: ModelConfig, edge: Edge) -> int:
    from server.engines.embedded.backends.onnxruntime import DATATYPE_BY_ONNX_TYPE

    found = DATATYPE_BY_ONNX_TYPE.get(edge.type)
    if found is None:
        raise UnsupportedModel(f"model {config.name!r}: {edge.name!r} is {edge.type}; only tensors can be served")
    return int(DataType.Value(TYPE_BY_DATATYPE[found]))

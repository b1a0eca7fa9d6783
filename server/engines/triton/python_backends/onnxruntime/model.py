"""Triton backend `onnxruntime` on top of its Python backend, for a Triton that has no native one (the pip wheel's).

Runs in Triton's Python stub. Inputs and outputs are those of the config; BF16 is not supported by numpy and refused.
Config parameters: `intra_op_thread_count`, `inter_op_thread_count` as in Triton's native backend.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

_ONNX_TYPES = {
    "TYPE_BOOL": "bool",
    "TYPE_UINT8": "uint8",
    "TYPE_UINT16": "uint16",
    "TYPE_UINT32": "uint32",
    "TYPE_UINT64": "uint64",
    "TYPE_INT8": "int8",
    "TYPE_INT16": "int16",
    "TYPE_INT32": "int32",
    "TYPE_INT64": "int64",
    "TYPE_FP16": "float16",
    "TYPE_FP32": "float",
    "TYPE_FP64": "double",
    "TYPE_STRING": "string",
}


def _parameter(config, name, default):
    entry = config.get("parameters", {}).get(name)
    return entry["string_value"] if entry else default


def _session_options(config):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(_parameter(config, "intra_op_thread_count", "0"))
    options.inter_op_num_threads = int(_parameter(config, "inter_op_thread_count", "0"))
    level = config.get("optimization", {}).get("graph", {}).get("level", 0)
    options.graph_optimization_level = _LEVELS.get(level, _LEVELS[0])
    # Spinning threads burn the cores that Triton and the other stubs need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _check(kind, specs, tensors):
    """Refuse a config that the graph does not fit, as the native backend does."""
    types = {tensor.name: tensor.type for tensor in tensors}
    for name, spec in specs.items():
        if name not in types:
            raise ValueError(f"the graph has no {kind} {name!r}; it has {', '.join(sorted(types))}")
        wanted = _ONNX_TYPES.get(spec["data_type"], "an unsupported type")
        if types[name] != f"tensor({wanted})":
            raise ValueError(f"the graph has no {kind} {name!r} of type {spec['data_type']}; it is {types[name]}")
    missing = sorted(set(types) - set(specs)) if kind == "input" else []
    if missing:
        raise ValueError(f"the graph has no use for this config: it also needs the inputs {', '.join(missing)}")


def _to_onnx(array):
    """Triton hands strings over as bytes; onnxruntime takes them as str, and gives them back so."""
    if array.dtype == np.object_:
        flat = [item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item for item in array.ravel()]
        array = np.array(flat, dtype=np.object_).reshape(array.shape)
    return array


def _to_triton(array):
    if array.dtype != np.object_:
        return array
    flat = [item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item for item in array.ravel()]
    return np.array(flat, dtype=np.object_).reshape(array.shape)


class _Wires:
    """Which config inputs and outputs there are, and the shapes that `reshape` asks for."""

    def __init__(self, config):
        self.is_batched = config.get("max_batch_size", 0) > 0
        self.inputs = {spec["name"]: spec for spec in config["input"]}
        self.outputs = {spec["name"]: spec for spec in config["output"]}

    def shaped(self, array, shape):
        fixed = [int(dim) for dim in shape]
        return array.reshape((array.shape[0], *fixed) if self.is_batched else fixed)

    def feed(self, request):
        feeds = {}
        for name, spec in self.inputs.items():
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:  # optional
                continue
            array = tensor.as_numpy()
            if spec.get("reshape"):
                array = self.shaped(array, spec["reshape"].get("shape", []))
            feeds[name] = _to_onnx(array)
        return feeds

    def answer(self, name, array):
        spec = self.outputs[name]
        if spec.get("reshape"):
            array = self.shaped(array, spec["dims"])
        return pb_utils.Tensor(name, _to_triton(array))


class TritonPythonModel:
    """One session per instance; requests of a batch run one after the other."""

    def initialize(self, args):
        """Load the graph that the config names, from the newest version folder."""
        config = json.loads(args["model_config"])
        file = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"], args["model_version"], file)
        # The real path: onnxruntime refuses external data that a link leads out of the graph's folder.
        self._session = onnxruntime.InferenceSession(
            path.resolve(), sess_options=_session_options(config), providers=["CPUExecutionProvider"]
        )
        self._wires = _Wires(config)
        _check("input", self._wires.inputs, self._session.get_inputs())
        _check("output", self._wires.outputs, self._session.get_outputs())

    def execute(self, requests):
        """Run every request; one that fails does not fail the others."""
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        names = [name for name in self._wires.outputs if name in request.requested_output_names()]
        try:
            arrays = self._session.run(names, self._wires.feed(request))
            outputs = [self._wires.answer(name, array) for name, array in zip(names, arrays, strict=True)]
        except Exception as error:
            is_callers = type(error).__name__ == "InvalidArgument"
            code = pb_utils.TritonError.INVALID_ARG if is_callers else pb_utils.TritonError.INTERNAL
            return pb_utils.InferenceResponse([], pb_utils.TritonError(f"{type(error).__name__}: {error}", code))
        return pb_utils.InferenceResponse(outputs)

    def finalize(self):
        """Free the graph."""
        self._session = None

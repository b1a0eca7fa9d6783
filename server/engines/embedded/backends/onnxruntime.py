"""The `onnxruntime` backend: one session per step, shared by the executions that run at the same time."""

import os
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.archive.model_config import datatype
from server.domain.errors import InvalidArchive, InvalidRequest, LoadFailed
from server.domain.inference import Array, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import CPU, Device, Step
from server.engines.embedded.backends.onnx_errors import load_error, run_error
from server.engines.embedded.backends.onnx_options import providers, session_options
from server.engines.embedded.devices import Hardware, place
from server.engines.embedded.instances import Instances
from server.engines.embedded.loaded_step import CalleeRunner
from server.engines.embedded.reshaping import model_dims
from server.engines.embedded.versions import model_file

DATATYPE_BY_ONNX_TYPE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "tensor(bool)": "BOOL",
        "tensor(uint8)": "UINT8",
        "tensor(uint16)": "UINT16",
        "tensor(uint32)": "UINT32",
        "tensor(uint64)": "UINT64",
        "tensor(int8)": "INT8",
        "tensor(int16)": "INT16",
        "tensor(int32)": "INT32",
        "tensor(int64)": "INT64",
        "tensor(float16)": "FP16",
        "tensor(float)": "FP32",
        "tensor(double)": "FP64",
        "tensor(bfloat16)": "BF16",
        "tensor(string)": "BYTES",
    }
)
DEFAULT_FILENAME: Final = "model.onnx"

# A ModelProto (IR 8, opset 17): y = Identity(x), FP32 [1].
_IDENTITY: Final = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a080801120"
    "40a020801620f0a0179120a0a08080112040a02080142040a001011"
)


class OnnxStep:
    """A step in an ONNX Runtime session."""

    def __init__(self, step: Step, session: ort.InferenceSession, device: Device, turns: Instances | None) -> None:
        """`turns`: whose turn it is on the CPU's cores; `None` where the step runs elsewhere."""
        self._turns = turns
        self._step = step
        self._session: ort.InferenceSession | None = session
        self._device = device
        self._outputs = tuple(spec.name for spec in step.signature.outputs)
        self._datatypes = {spec.name: spec.datatype for spec in step.signature.outputs}

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run the graph; only what `request.outputs` asks for is computed.

        Raises:
            InvalidRequest: the shapes do not fit the graph, or BYTES are not UTF-8.
            InferenceFailed, DeviceFull.
        """
        assert self._session is not None, "an execution after close. This is a bug."
        names = request.outputs or self._outputs
        feed = {name: _to_onnx(tensor) for name, tensor in request.inputs.items()}
        try:
            arrays = self._run(self._session, names, feed)
        except Exception as error:
            raise run_error(self._step, self._device, error) from error
        return InferenceResponse(
            tuple(
                _from_onnx(name, self._datatypes[name], array)
                for name, array in zip(names, arrays, strict=True)
                if array is not None  # an optional output of the graph
            )
        )

    def _run(self, session: ort.InferenceSession, names: Sequence[str], feed: dict[str, Array]) -> list[Any]:
        if self._turns is None:
            return list(session.run(names, feed))
        self._turns.take()
        try:
            return list(session.run(names, feed))
        finally:
            self._turns.give()

    def stream(self, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """The one answer."""
        yield self.execute(request)

    def outside_bytes(self) -> int:
        """Nothing: everything is in this process, or on the GPU."""
        return 0

    def close(self) -> None:
        """Drop the session, and with it the weights."""
        self._session = None


class OnnxBackend:
    """Makes ONNX models executable."""

    def __init__(self, hardware: Hardware, threads: int | None = None) -> None:
        """`threads`: of one execution, where a config does not say; by default the cores this process may use."""
        self._hardware = hardware
        cores = len(os.sched_getaffinity(0))
        self._threads = threads or cores
        # More runs at once than cores finish no sooner, and each holds its scratch memory: 20 MiniLM runs of 8 x 32
        # tokens at once on 2 cores leave 230 MB behind.
        self._turns = Instances(max(2, cores))

    def load(self, step: Step, config: ModelConfig, callees: CalleeRunner) -> OnnxStep:  # noqa: ARG002 (the port)
        """Create the session and compare the graph's edges with `config`.

        Raises:
            InvalidArchive: there is no model file, or config and graph contradict each other.
            UnsupportedModel: it needs a provider that is not here.
            LoadFailed, DeviceFull.
        """
        path = model_file(step.directory, config, DEFAULT_FILENAME)
        device = place(config, "onnxruntime", self._hardware)
        chosen = providers(config, device, self._hardware)
        options = session_options(config, self._threads)
        try:
            session = ort.InferenceSession(str(path), options, providers=chosen)
        except Exception as error:
            raise load_error(step, device, error) from error
        if device != CPU and "CUDAExecutionProvider" not in session.get_providers():
            raise LoadFailed(f"model {step.name!r}: ONNX Runtime could not use {device}; are CUDA and cuDNN installed?")
        compare_edges(config, session)
        return OnnxStep(step, session, device, self._turns if device == CPU else None)

    def close(self) -> None:
        """Sessions share nothing."""


def touch_runtime() -> None:
    """Run a one-node graph, so that what the runtime sets up once is not charged to the first step that loads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    ort.InferenceSession(_IDENTITY, options, providers=["CPUExecutionProvider"]).run(None, {"x": np.zeros(1, "f4")})


def compare_edges(config: ModelConfig, session: ort.InferenceSession) -> None:
    """Raise InvalidArchive where the config's tensors and the graph's differ in names, datatypes or shapes."""
    where = f"model {config.name!r}"
    graph_inputs = {edge.name: edge for edge in session.get_inputs()}
    graph_outputs = {edge.name: edge for edge in session.get_outputs()}
    unfed = graph_inputs.keys() - {tensor.name for tensor in config.input}
    if unfed:
        raise InvalidArchive(f"{where}: the graph's inputs {sorted(unfed)} are missing in the config")
    for kind, tensors, edges in (("input", config.input, graph_inputs), ("output", config.output, graph_outputs)):
        for tensor in tensors:
            edge = edges.get(tensor.name)
            if edge is None:
                raise InvalidArchive(
                    f"{where}: the config's {kind} {tensor.name!r} is not in the graph; its {kind}s: {sorted(edges)}"
                )
            found, wanted = DATATYPE_BY_ONNX_TYPE.get(edge.type, edge.type), datatype(tensor.data_type)
            if found != wanted:
                raise InvalidArchive(
                    f"{where}: {kind} {tensor.name!r} is {wanted} in the config and {found} in the graph"
                )
            dims = [*([-1] if config.max_batch_size > 0 else []), *model_dims(tensor)]
            if not _shapes_agree(dims, edge.shape):
                raise InvalidArchive(
                    f"{where}: {kind} {tensor.name!r} has shape {dims} in the config (with its batch axis) and "
                    f"{edge.shape} in the graph"
                )


def _shapes_agree(dims: list[int], edge_shape: list[Any] | None) -> bool:
    if not edge_shape:  # unknown rank, or a scalar
        return True
    return len(dims) == len(edge_shape) and all(
        want < 0 or not isinstance(got, int) or got < 0 or want == got
        for want, got in zip(dims, edge_shape, strict=True)
    )


def _to_onnx(tensor: Tensor) -> Array:
    if tensor.datatype != "BYTES":
        return tensor.data
    try:
        texts = [each.decode() if isinstance(each, bytes) else str(each) for each in tensor.data.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"input {tensor.name!r}: ONNX strings must be UTF-8: {error}") from error
    return np.array(texts, dtype=np.object_).reshape(tensor.shape)


def _from_onnx(name: str, datatype: str, array: Array) -> Tensor:
    if datatype != "BYTES":
        return Tensor(name, datatype, array)
    raw = np.empty(array.size, dtype=np.object_)
    raw[:] = [each.encode() if isinstance(each, str) else each for each in array.ravel()]
    return Tensor(name, datatype, raw.reshape(array.shape))

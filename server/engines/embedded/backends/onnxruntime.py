"""The `onnxruntime` backend: from a staged step to its sessions, and what the runtime has to be asked once."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.archive.model_config import datatype
from server.domain.clock import Clock, SystemClock
from server.domain.errors import InvalidArchive, LoadFailed
from server.domain.model import CPU, Device, Step, StepDigest
from server.engines.embedded.backends.onnx_errors import load_error
from server.engines.embedded.backends.onnx_options import providers, session_options
from server.engines.embedded.backends.onnx_packing import Recipe, recipe
from server.engines.embedded.backends.onnx_step import OnnxStep, PackableStep, Sessions, Turns
from server.engines.embedded.backends.packed_files import PackedFiles
from server.engines.embedded.config.devices import Hardware, place
from server.engines.embedded.config.reshaping import model_dims
from server.engines.embedded.config.versions import model_file
from server.engines.embedded.loaded_step import CalleeRunner

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

_log = logging.getLogger(__name__)


class OnnxBackend:
    """Makes ONNX models executable."""

    def __init__(
        self,
        hardware: Hardware,
        threads: int | None = None,
        packed: PackedFiles | None = None,
        on_worth_it: Callable[[StepDigest], None] = lambda _: None,
        clock: Clock | None = None,
        split_library: Path | None = None,
    ) -> None:
        """`threads`: of one execution, where a config does not say; by default the cores this process may use.

        `packed`: where packed weights are kept; None: each session has its own. `on_worth_it` is told, from any thread,
        of steps that should be packed. `split_library`: operators for their matrix products (`split_products/`).
        """
        self._hardware = hardware
        cores = len(os.sched_getaffinity(0))
        self._threads = threads or cores
        self._packed = packed
        self._on_worth_it = on_worth_it
        self._split_library = split_library
        self._turns = Turns(cores, clock or SystemClock())

    def load(self, step: Step, config: ModelConfig, callees: CalleeRunner) -> OnnxStep:  # noqa: ARG002 (the port)
        """Create the session and compare the graph's edges with `config`.

        Raises:
            InvalidArchive: there is no model file, or config and graph contradict each other.
            UnsupportedModel: it needs a provider that is not here.
            LoadFailed, DeviceFull.
        """
        path = model_file(step.directory, config, DEFAULT_FILENAME)
        device = place(config, "onnxruntime", self._hardware)
        how = recipe(step, config, path, device, self._threads, self._packed, self._split_library)
        sessions = self._packed_session(how) or self._own_session(step, config, path, device)
        compare_edges(config, sessions.wide)
        if how is None:
            return OnnxStep(step, sessions, device, self._turns if device == CPU else None)
        return PackableStep(step, sessions, self._turns, how, self._on_worth_it)

    def _packed_session(self, how: Recipe | None) -> Sessions | None:
        """The session that a load needs first, over packed weights; None where there are none that can be used."""
        graph = how.find() if how is not None else None
        if how is None or graph is None:
            return None
        try:
            return Sessions(how.wide(graph), None, graph)
        except Exception as error:
            _log.warning("packed weights in %s are of no use: %s", graph.parent.name, error)
            how.discard()
            return None

    def _own_session(self, step: Step, config: ModelConfig, path: Path, device: Device) -> Sessions:
        chosen = providers(config, device, self._hardware)
        options = session_options(config, self._threads)
        try:
            session = ort.InferenceSession(str(path), options, providers=chosen)
        except Exception as error:
            raise load_error(step, device, error) from error
        if device != CPU and "CUDAExecutionProvider" not in session.get_providers():
            raise LoadFailed(f"model {step.name!r}: ONNX Runtime could not use {device}; are CUDA and cuDNN installed?")
        return Sessions(session)

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

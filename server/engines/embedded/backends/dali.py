"""The `dali` backend: preprocessing by NVIDIA DALI, without a tritonserver. Needs the `dali` extra.

As many pipelines as the config has instances, each with `num_threads` (a config parameter) threads of its own.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import LifoQueue
from typing import Final

import numpy as np
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInput, ModelOutput

from server.archive.model_config import datatype, parameter
from server.domain import image_header
from server.domain.errors import (
    DeviceFull,
    InferenceFailed,
    InvalidArchive,
    InvalidRequest,
    LoadFailed,
    RoundhouseError,
    UnsupportedModel,
)
from server.domain.inference import NUMPY_BY_DATATYPE, Array, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import CPU, Device, Step
from server.engines.dali_pipeline import (
    DEFAULT_FILENAME,
    DEFAULT_THREADS,
    SOURCE_FILENAME,
    DaliPipeline,
    Edge,
    SampleRefused,
    Unfit,
    Unsupported,
    Unusable,
    import_dali,
)
from server.engines.embedded.config.devices import Hardware, place
from server.engines.embedded.config.reshaping import model_dims
from server.engines.embedded.config.versions import model_file, version_folder
from server.engines.embedded.loaded_step import CalleeRunner
from server.engines.embedded.running.instances import count_instances

_MOST_THREADS: Final = 256


class DaliStep:
    """A step in one or several DALI pipelines."""

    def __init__(self, step: Step, pipelines: list[DaliPipeline], device: Device) -> None:
        self._name = step.name
        self._device = device
        self._outputs = tuple((spec.name, spec.datatype) for spec in step.signature.outputs)
        self._free: LifoQueue[DaliPipeline] = LifoQueue()
        for pipeline in pipelines:
            self._free.put(pipeline)

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run one request. All outputs are computed, whichever are asked for.

        Raises:
            InvalidRequest: an image does not decode, or has too many pixels; the message says which one.
            InferenceFailed, DeviceFull.
        """
        (outcome,) = self.execute_all([request])
        if isinstance(outcome, RoundhouseError):
            raise outcome
        return outcome

    def execute_all(self, requests: Sequence[InferenceRequest]) -> list[InferenceResponse | RoundhouseError]:
        """Run requests as one batch: one outcome each. An image that does not decode fails its own request only."""
        pipeline = self._free.get()
        try:
            results = pipeline.run([{name: tensor.data for name, tensor in each.inputs.items()} for each in requests])
        finally:
            self._free.put(pipeline)
        return [self._outcome(result) for result in results]

    def _outcome(self, result: list[Array] | Exception) -> InferenceResponse | RoundhouseError:
        if isinstance(result, SampleRefused):
            return InvalidRequest(f"model {self._name!r}: {result}")
        if isinstance(result, MemoryError):
            return DeviceFull(self._name, self._device, said=str(result))
        if isinstance(result, Exception):
            return InferenceFailed(f"model {self._name!r}: {result}")
        return InferenceResponse(tuple(Tensor(*edge, array) for edge, array in zip(self._outputs, result, strict=True)))

    def stream(self, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """The one answer."""
        yield self.execute(request)

    def outside_bytes(self) -> int:
        """Nothing: everything is in this process, or on the GPU."""
        return 0

    def close(self) -> None:
        """Drop the pipelines, and with them their threads."""
        while not self._free.empty():
            self._free.get()


class DaliBackend:
    """Makes serialized DALI pipelines executable."""

    def __init__(self, hardware: Hardware) -> None:
        self._hardware = hardware

    def prepare(self) -> None:
        """Import nvidia.dali, whose memory belongs to no step. Raises UnsupportedModel without the `dali` extra."""
        try:
            import_dali()
        except Unsupported as error:
            raise UnsupportedModel(
                f"DALI steps cannot run: {error}, or start the server with --engine triton"
            ) from error

    def load(self, step: Step, config: ModelConfig, callees: CalleeRunner) -> DaliStep:  # noqa: ARG002 (the port)
        """Build the pipelines and compare them with `config`.

        Raises:
            InvalidArchive: there is no pipeline, or it and the config contradict each other.
            UnsupportedModel: nvidia.dali or a GPU is missing.
            LoadFailed: DALI refuses the pipeline.
        """
        if config.max_batch_size < 1:
            raise InvalidArchive(f"model {config.name!r}: the dali backend needs max_batch_size > 0")
        device = place(config, "dali", self._hardware)
        serialized = _pipeline_file(step, config).read_bytes()
        make = partial(
            DaliPipeline,
            serialized,
            config.max_batch_size,
            _threads(config),
            device_index(device),
            image_header.weigh,
        )
        try:
            pipelines = [make() for _ in range(count_instances(config))]
            pipelines[0].compare(
                [_edge(tensor) for tensor in config.input], [_edge(tensor) for tensor in config.output]
            )
        except Unusable as error:
            raise _kind(error)(f"model {config.name!r}: {error}") from error
        return DaliStep(step, pipelines, device)

    def close(self) -> None:
        """Pipelines share nothing that could be freed."""


def _kind(error: Unusable) -> type[RoundhouseError]:
    if isinstance(error, Unsupported):
        return UnsupportedModel
    return InvalidArchive if isinstance(error, Unfit) else LoadFailed


def _pipeline_file(step: Step, config: ModelConfig) -> Path:
    """Triton's own backend runs `dali.py` where there is no serialized pipeline; code of archives stays out of here."""
    source = version_folder(step.directory, config) / SOURCE_FILENAME
    if not config.default_model_filename and source.is_file() and not source.with_name(DEFAULT_FILENAME).exists():
        raise UnsupportedModel(
            f"model {config.name!r} has its pipeline as {SOURCE_FILENAME} only; serialize it here, "
            f'with pipeline().serialize(filename="{DEFAULT_FILENAME}"), and put that file beside it'
        )
    return model_file(step.directory, config, DEFAULT_FILENAME)


def device_index(device: Device) -> int | None:
    """The GPU's number, `None` on the CPU."""
    return None if device == CPU else int(device.removeprefix("gpu:"))


def _threads(config: ModelConfig) -> int:
    text = parameter(config, "num_threads") or str(DEFAULT_THREADS)
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_THREADS:
        raise InvalidArchive(f"model {config.name!r}: num_threads must be 1 to {_MOST_THREADS}, got {text!r}")
    return int(text)


def _edge(tensor: ModelInput | ModelOutput) -> Edge:
    return Edge(tensor.name, np.dtype(NUMPY_BY_DATATYPE[datatype(tensor.data_type)]), len(model_dims(tensor)))

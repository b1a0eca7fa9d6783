"""One loaded step with its promises kept around it: request checks, instances, reshapes, outputs, errors.

Every road to a model (the engine's own requests, ensemble steps, BLS calls, warm-ups) goes through `Resident`.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.errors import DeviceFull, InferenceFailed, InvalidRequest, RoundhouseError, UnsupportedModel
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.domain.model import Device, ModelSignature, Step, StepDigest
from server.engines.embedded.checks import RequestCheck
from server.engines.embedded.instances import Instances
from server.engines.embedded.loaded_step import LoadedStep
from server.engines.embedded.reshaping import Reshape, input_reshapes, output_reshapes
from server.engines.embedded.streaming import iterate


class Resident:
    """A step that is ready to run."""

    def __init__(
        self, step: Step, config: ModelConfig, loaded: LoadedStep, instances: Instances, device: Device
    ) -> None:
        self.step: Final = step
        self.instances: Final = instances
        self.device: Final = device
        self._loaded = loaded
        self._check = RequestCheck(step.name, step.signature)
        self._input_reshapes = input_reshapes(config)
        self._output_reshapes = output_reshapes(config)
        self._is_closed = False

    def admit(self, request: InferenceRequest) -> None:
        """Raise InvalidRequest unless the request fits. Quick: the event loop may call it."""
        self._check.check(request)

    def run(self, request: InferenceRequest) -> InferenceResponse:
        """Wait for an instance on this thread, then run an unchecked request."""
        self._check.check(request)
        self.instances.take()
        try:
            return self.execute(request)
        finally:
            self.instances.give()

    def run_stream(self, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """Wait for an instance on this thread, and keep it until the answers end or the iterator is closed."""
        self._check.check(request)
        self.instances.take()
        try:
            yield from self.stream(request)
        finally:
            self.instances.give()

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run an admitted request on this thread; the caller holds an instance.

        Raises:
            UnsupportedModel: the step is decoupled.
            InferenceFailed, InvalidRequest, DeviceFull, EngineLost.
        """
        if self.step.signature.is_decoupled:
            raise UnsupportedModel(
                f"model {self.step.name!r} is decoupled: it may answer any number of times; use a streaming call"
            )
        try:
            incoming = self._incoming(request)
            return self._outgoing(request, self._loaded.execute(incoming))
        except RoundhouseError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            raise self._failure(error) from error

    def stream(self, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """Run an admitted request on this thread to all its answers; the caller holds an instance."""
        try:
            incoming = self._incoming(request)
            with closing(iterate(self._loaded.stream(incoming))) as answers:
                for answer in answers:
                    yield self._outgoing(request, answer)
        except RoundhouseError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            raise self._failure(error) from error

    def finish(self) -> None:
        """Wait until nothing runs any more. Blocking. Later executions fail."""
        for _ in range(self.instances.count):
            self.instances.take()
        self._is_closed = True
        for _ in range(self.instances.count):
            self.instances.give()

    def close(self) -> None:
        """Free the step, after `finish`."""
        loaded = self._loaded
        del self._loaded  # some steps free their memory with their last reference
        loaded.close()

    def outside_bytes(self) -> int:
        """Host memory of the step in other processes."""
        return self._loaded.outside_bytes()

    def _incoming(self, request: InferenceRequest) -> InferenceRequest:
        if self._is_closed:
            raise InferenceFailed(f"model {self.step.name!r} was unloaded before the request could run")
        if not self._input_reshapes:
            return request
        inputs = {tensor.name: _reshaped(tensor, self._input_reshapes) for tensor in request.inputs.values()}
        return InferenceRequest(inputs, request.outputs, request.id, request.parameters)

    def _outgoing(self, request: InferenceRequest, response: InferenceResponse) -> InferenceResponse:
        if not request.outputs and not self._output_reshapes:
            return response
        outputs: Iterable[Tensor] = response.outputs
        if request.outputs:
            by_name = {tensor.name: tensor for tensor in response.outputs}
            outputs = [by_name[name] for name in request.outputs if name in by_name]
        if self._output_reshapes:
            outputs = [_reshaped(tensor, self._output_reshapes) for tensor in outputs]
        return InferenceResponse(tuple(outputs), response.parameters)

    def _failure(self, error: BaseException) -> RoundhouseError:
        """Whatever a model raises (or `sys.exit`, which must not end the server) is one of our failures."""
        if isinstance(error, MemoryError):
            return DeviceFull(self.step.name, self.device)
        return InferenceFailed(f"model {self.step.name!r} failed: {type(error).__name__}: {error}")


class Callees:
    """The `CalleeRunner` of one step: its callees by the names that its files use, found again at each call."""

    def __init__(self, step: Step, residents: Mapping[StepDigest, Resident]) -> None:
        self._step = step
        self._residents = residents

    def run(self, model_name: str, request: InferenceRequest) -> InferenceResponse:
        """Run a callee on this thread."""
        return self._find(model_name).run(request)

    def stream(self, model_name: str, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """Run a callee on this thread to all its answers."""
        return self._find(model_name).run_stream(request)

    def signature(self, model_name: str) -> ModelSignature:
        """What a callee takes and gives."""
        return self._find(model_name).step.signature

    def _find(self, model_name: str) -> Resident:
        digest = self._step.calls.get(model_name)
        resident = self._residents.get(digest) if digest else None
        if resident is None:
            known = ", ".join(map(repr, sorted(self._step.calls))) or "none"
            raise InvalidRequest(f"model {self._step.name!r} has no model {model_name!r} to call; it may call: {known}")
        return resident


def _reshaped(tensor: Tensor, reshapes: Mapping[str, Reshape]) -> Tensor:
    reshape = reshapes.get(tensor.name)
    if reshape is None:
        return tensor
    try:
        return reshape.apply(tensor)
    except ValueError as error:
        raise InferenceFailed(
            f"tensor {tensor.name!r} of shape {list(tensor.shape)} cannot take the shape {list(reshape.after)} "
            "that its config asks for in reshape"
        ) from error

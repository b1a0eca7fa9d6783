"""One loaded step with its promises kept around it: request checks, instances, reshapes, outputs, errors.

Every road to a model (the engine's own requests, ensemble steps, BLS calls, warm-ups) goes through `Resident`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.clock import Clock
from server.domain.errors import DeviceFull, InferenceFailed, InvalidRequest, RoundhouseError, UnsupportedModel
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.domain.model import CPU, Device, ModelSignature, Step, StepDigest
from server.engines.embedded.answers.remembered_answers import RememberedAnswers
from server.engines.embedded.config.checks import RequestCheck
from server.engines.embedded.config.reshaping import Reshape, input_reshapes, output_reshapes
from server.engines.embedded.loaded_step import BatchingStep, LoadedStep, PackableStep
from server.engines.embedded.running.batch_rules import rules_of
from server.engines.embedded.running.dynamic_batches import DynamicBatches, Outcome
from server.engines.embedded.running.instances import Instances
from server.engines.embedded.running.pace import Pace, thread_seconds
from server.engines.embedded.running.streaming import iterate
from server.engines.embedded.running.workers import Workers

T = TypeVar("T")


class Resident:
    """A step that is ready to run."""

    def __init__(
        self, step: Step, config: ModelConfig, loaded: LoadedStep, instances: Instances, device: Device
    ) -> None:
        self.step: Final = step
        self.instances: Final = instances
        self.device: Final = device
        self._loaded = loaded
        # Asked once: to ask looks at every property, one of which reads a file's size.
        self._packable = loaded if isinstance(loaded, PackableStep) else None
        self._check = RequestCheck(step.name, step.signature)
        self._input_reshapes = input_reshapes(config)
        self._output_reshapes = output_reshapes(config)
        self._is_closed = False
        self.has_run = False
        """Whether any request has reached it."""
        self.has_moved = False
        """Whether its weights were packed after its load, so that it no longer maps the archive's files."""
        self.answers: RememberedAnswers | None = None
        """Where this step's answers are kept; None where its config does not ask for it."""

        self.batches: DynamicBatches | None = None
        """Where this step's requests gather for common executions; None where each runs by itself."""
        self._rules = rules_of(config) if isinstance(loaded, BatchingStep) else None
        self.pace: Final = Pace() if step.backend == "onnxruntime" and device == CPU else None
        """How quick its runs are; None where it waits for something else than this processor."""

    @property
    def concurrency(self) -> int:
        """How many requests at once keep this step busy: one for each instance, or a batch for each."""
        return self.instances.count * (self._rules.max_rows if self._rules is not None else 1)

    def batch(self, workers: Workers, clock: Clock) -> None:
        """Run waiting requests together from now on, where config and backend can."""
        if self._rules is not None:
            self.batches = DynamicBatches(self._rules, self.instances, workers, self.execute_all, clock)

    def remember(self, answers: RememberedAnswers) -> None:
        """Keep the answers from now on."""
        answers.open(self.step.digest)
        self.answers = answers

    def admit(self, request: InferenceRequest) -> None:
        """Raise InvalidRequest unless the request fits. Quick: the event loop may call it."""
        self._check.check(request)

    def run(self, request: InferenceRequest) -> InferenceResponse:
        """Wait for an instance on this thread, then run an unchecked request; or answer it from memory."""
        self._check.check(request)
        if self.answers is None:
            return self._run(request)
        return self.answers.answer(self.step.digest, request, lambda: self._run(request))

    def _run(self, request: InferenceRequest) -> InferenceResponse:
        if self.batches is not None:
            return self.batches.run(request)
        self.instances.take()
        try:
            return self.execute(request)
        finally:
            self.instances.give()

    def run_stream(self, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """Wait for an instance on this thread, and keep it until the answers end or the iterator is closed."""
        if self.answers is not None:
            yield self.run(request)
            return
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

    def execute_timed(self, request: InferenceRequest, size: int) -> InferenceResponse:
        """As `execute`, and let `pace` learn from it; `size` is the request's `size_of`."""
        assert self.pace is not None
        began = thread_seconds()
        response = self.execute(request)
        self.pace.note(size, thread_seconds() - began)
        return response

    def execute_all(self, requests: Sequence[InferenceRequest]) -> Sequence[Outcome]:
        """Run admitted requests of a batching step in one execution: one outcome each. The caller holds an instance."""
        outcomes = [self._tried(partial(self._incoming, request)) for request in requests]
        ready = [outcome for outcome in outcomes if isinstance(outcome, InferenceRequest)]
        answers = iter(self._all_answers(ready))
        return [
            outcome if isinstance(outcome, RoundhouseError) else self._finished(request, next(answers))
            for request, outcome in zip(requests, outcomes, strict=True)
        ]

    def _all_answers(self, requests: Sequence[InferenceRequest]) -> Sequence[Outcome]:
        assert isinstance(self._loaded, BatchingStep)
        try:
            return self._loaded.execute_all(requests) if requests else ()
        except RoundhouseError as error:
            return [error] * len(requests)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            return [self._failure(error)] * len(requests)

    def _finished(self, request: InferenceRequest, outcome: Outcome) -> Outcome:
        if isinstance(outcome, RoundhouseError):
            return outcome
        return self._tried(partial(self._outgoing, request, outcome))

    def _tried(self, work: Callable[[], T]) -> T | RoundhouseError:
        try:
            return work()
        except RoundhouseError as error:
            return error

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
        if self.answers is not None:
            self.answers.close(self.step.digest)
        loaded, self._packable = self._loaded, None
        del self._loaded  # some steps free their memory with their last reference
        loaded.close()

    def outside_bytes(self) -> int:
        """Host memory of the step in other processes; 0 once it is closed, which may be meanwhile."""
        loaded: LoadedStep | None = getattr(self, "_loaded", None)
        return 0 if loaded is None else loaded.outside_bytes()

    @property
    def folders(self) -> Sequence[Path]:
        """Where the files lie that it may map."""
        packable = self._packable
        packed = packable.folder if packable is not None else None
        return (self.step.directory,) if packed is None else (self.step.directory, packed)

    @property
    def packed(self) -> Mapping[str, object] | None:
        """What its packed weights are, JSON-ready; None where they are as the archive has them."""
        if (packable := self._packable) is None or packable.folder is None:
            return None
        return {"step": self.step.name, "digest": self.step.digest, "split_products": packable.split_products}

    @property
    def reserve_bytes(self) -> int:
        """Host memory that it will take when its weights are packed; 0 where they are, or never will be."""
        return packable.reserve_bytes if (packable := self._packable) is not None else 0

    def settle(self) -> None:
        """Do what the load left for later. Raises LoadFailed, DeviceFull."""
        if (packable := self._packable) is not None:
            packable.settle()

    def pack(self) -> bool:
        """Pack the weights; returns whether that could be done. Executions go on meanwhile, and so may `close`."""
        if (packable := self._packable) is None or not packable.pack():
            return False
        self.has_moved = True
        return True

    def _incoming(self, request: InferenceRequest) -> InferenceRequest:
        if self._is_closed:
            raise InferenceFailed(f"model {self.step.name!r} was unloaded before the request could run")
        self.has_run = True
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
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            return DeviceFull(self.step.name, self.device, said=said)
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

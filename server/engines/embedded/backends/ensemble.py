"""The `ensemble` backend: runs the DAG as data flow, on the thread of the request.

A step starts as soon as its inputs are there. The thread that finishes a step goes on with the next one that became
ready, so a chain never changes threads; only where several become ready at once do other threads help. Arrays are
handed over as they are, without copies.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.errors import EngineLost, InferenceFailed, InvalidRequest, RoundhouseError, UnsupportedModel
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.domain.model import ModelSignature, Step, TensorSpec
from server.engines.embedded.backends.ensemble_plan import EnsemblePlan, PlannedStep, plan
from server.engines.embedded.config.reshaping import fit_batch_axis
from server.engines.embedded.loaded_step import CalleeRunner
from server.engines.embedded.running.streaming import iterate
from server.engines.embedded.running.workers import Workers

_RENAMED: Final = (InvalidRequest, InferenceFailed, UnsupportedModel, EngineLost)


class EnsembleStep:
    """A loaded ensemble: a plan and the models that it calls."""

    def __init__(self, plan: EnsemblePlan, callees: CalleeRunner, workers: Workers) -> None:
        self._plan = plan
        self._callees = callees
        self._workers = workers

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run all steps.

        Raises:
            UnsupportedModel: a step is decoupled.
            InferenceFailed, InvalidRequest, DeviceFull, EngineLost: of a step; the message names it.
        """
        if not self._plan.is_chain:
            return _answer(self._plan, request, _Flow(self._plan, self._callees, self._workers, request).run())
        known = dict(request.inputs)
        for step in self._plan.steps:
            known.update(_run(self._plan, step, self._callees, request, known))
        return _answer(self._plan, request, known)

    def stream(self, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """Run all steps in order; each answer of a decoupled step flows through the rest of the graph on its own."""
        return self._from(0, request, dict(request.inputs))

    def _from(self, index: int, request: InferenceRequest, known: Mapping[str, Tensor]) -> Iterator[InferenceResponse]:
        if index == len(self._plan.steps):
            yield _answer(self._plan, request, known)
            return
        step = self._plan.steps[index]
        try:
            with closing(iterate(self._callees.stream(step.model, _request_for(step, request, known)))) as answers:
                for answer in answers:
                    if answer.outputs:
                        yield from self._from(index + 1, request, {**known, **_given(step, answer)})
        except _RENAMED as error:
            raise _named(self._plan, step, error) from error

    def outside_bytes(self) -> int:
        """Nothing of its own."""
        return 0

    def close(self) -> None:
        """Nothing to free: the callees are steps of their own."""


class EnsembleBackend:
    """Makes ensembles executable."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    def load(self, step: Step, config: ModelConfig, callees: CalleeRunner) -> EnsembleStep:
        """Check the graph. Raises InvalidArchive where it does not hold together."""
        return EnsembleStep(plan(config, step.signature, callees.signature), callees, self._workers)

    def close(self) -> None:
        """Ensembles share nothing."""


class _Flow:
    """One request on its way through the graph. Several threads may walk it; the lock guards what they share."""

    def __init__(self, plan: EnsemblePlan, callees: CalleeRunner, workers: Workers, request: InferenceRequest) -> None:
        self._plan = plan
        self._callees = callees
        self._workers = workers
        self._request = request
        self._known: dict[str, Tensor] = dict(request.inputs)
        self._steps = {step.index: step for step in plan.steps}
        self._missing = {step.index: len(step.inputs) for step in plan.steps}
        self._lock = threading.Lock()
        self._walkers = 0
        self._all_home: threading.Event | None = None
        self._error: BaseException | None = None

    def run(self) -> Mapping[str, Tensor]:
        """Walk until every step has run; give all tensors by name. Raises the first step's failure."""
        # Optional inputs that were not sent count as arrived: the steps that need them say so themselves.
        ready = [step for step in self._plan.steps if not step.inputs]
        ready += self._arrived([spec.name for spec in self._plan.signature.inputs])
        self._walkers = 1
        self._go_on(ready)
        if self._all_home is not None:
            self._all_home.wait()
        if self._error is not None:
            raise self._error
        return self._known

    def _go_on(self, ready: Sequence[PlannedStep]) -> None:
        """Run what is ready, here and (all but the first) on other threads, and then what that makes ready."""
        while ready and self._error is None:
            here, *elsewhere = ready
            for step in elsewhere:
                self._send(step)
            ready = self._run(here)
        with self._lock:
            self._walkers -= 1
            if not self._walkers and self._all_home is not None:
                self._all_home.set()

    def _send(self, step: PlannedStep) -> None:
        with self._lock:
            self._walkers += 1
            self._all_home = self._all_home or threading.Event()
        self._workers.submit(lambda: self._go_on([step]))

    def _run(self, step: PlannedStep) -> Sequence[PlannedStep]:
        try:
            given = _run(self._plan, step, self._callees, self._request, self._known)
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
            return ()
        with self._lock:
            self._known.update(given)
            return self._arrived(step.outputs.values())

    def _arrived(self, tensors: Iterable[str]) -> list[PlannedStep]:
        arrived = Counter(index for tensor in tensors for index in self._plan.consumers.get(tensor, ()))
        for index, count in arrived.items():
            self._missing[index] -= count
        return [self._steps[index] for index in arrived if not self._missing[index]]


def _run(
    plan: EnsemblePlan, step: PlannedStep, callees: CalleeRunner, request: InferenceRequest, known: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Run one step on this thread; give its tensors by their names in the ensemble."""
    try:
        return _given(step, callees.run(step.model, _request_for(step, request, known)))
    except _RENAMED as error:
        raise _named(plan, step, error) from error


def _request_for(step: PlannedStep, request: InferenceRequest, known: Mapping[str, Tensor]) -> InferenceRequest:
    inputs: dict[str, Tensor] = {}
    for spec, source in step.sources:
        tensor = known.get(source)
        if tensor is not None:
            inputs[spec.name] = _handed_over(tensor, spec, step.signature)
    return InferenceRequest(inputs, step.wanted, request.id, request.parameters)


def _given(step: PlannedStep, response: InferenceResponse) -> dict[str, Tensor]:
    return {step.outputs[tensor.name]: tensor for tensor in response.outputs if tensor.name in step.outputs}


def _answer(plan: EnsemblePlan, request: InferenceRequest, known: Mapping[str, Tensor]) -> InferenceResponse:
    outputs: list[Tensor] = []
    for spec in plan.signature.outputs:
        if request.outputs and spec.name not in request.outputs:
            continue
        if spec.name not in known:
            giver = next((step.model for step in plan.steps if spec.name in step.outputs.values()), "")
            raise InferenceFailed(f"ensemble {plan.name!r}: step {giver!r} did not give tensor {spec.name!r}")
        outputs.append(_handed_over(known[spec.name], spec, plan.signature))
    return InferenceResponse(tuple(outputs))


def _handed_over(tensor: Tensor, spec: TensorSpec, receiver: ModelSignature) -> Tensor:
    data = fit_batch_axis(tensor.data, spec.dims, receiver.is_batched)
    if data is tensor.data and spec.name == tensor.name:
        return tensor
    return Tensor(spec.name, tensor.datatype, data)


def _named(plan: EnsemblePlan, step: PlannedStep, error: RoundhouseError) -> RoundhouseError:
    return type(error)(f"ensemble {plan.name!r}, step {step.model!r}: {error}")

"""The `python` backend: runs Triton's `TritonPythonModel`, in the server (EXECUTION=in-process) or isolated from it."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.clock import Clock, SystemClock
from server.domain.errors import RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import Step
from server.engines.embedded.loaded_step import CalleeRunner, LoadedStep
from server.engines.embedded.python_steps.callees import Callees
from server.engines.embedded.python_steps.full_device import full_device_told
from server.engines.embedded.python_steps.in_process import InProcessInstance
from server.engines.embedded.python_steps.instances import Instance, InstancePool
from server.engines.embedded.python_steps.isolated import IsolatedInstance
from server.engines.embedded.python_steps.launch import Launch
from server.engines.embedded.python_steps.outputs import checked
from server.engines.embedded.python_steps.plan import launches, runs_in_process
from server.engines.embedded.python_steps.worker_process import Spawner

_CLOSE_GRACE_S: Final = 10.0


class PythonStep:
    """A loaded Python step: its instances behind one door."""

    def __init__(self, step: Step, instances: InstancePool) -> None:
        self._step = step
        self._instances = instances

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run one request on the next free instance. Raises InferenceFailed, InvalidRequest, DeviceFull: it says so.

        Of a decoupled step this is its first answer, and the others are cancelled.
        """
        with self._instances.lend() as instance, full_device_told(self._step.name):
            return checked(self._step, request, instance.execute(request))

    def execute_all(self, requests: Sequence[InferenceRequest]) -> list[InferenceResponse | RoundhouseError]:
        """Run a batch on the next free instance: one outcome each. Raises InferenceFailed once the step is closed."""
        with self._instances.lend() as instance:
            outcomes = instance.execute_all(requests)
        return [self._told(request, outcome) for request, outcome in zip(requests, outcomes, strict=True)]

    def _told(
        self, request: InferenceRequest, outcome: InferenceResponse | RoundhouseError
    ) -> InferenceResponse | RoundhouseError:
        try:
            with full_device_told(self._step.name):
                if isinstance(outcome, RoundhouseError):
                    raise outcome
                return checked(self._step, request, outcome)
        except RoundhouseError as error:
            return error

    def stream(self, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """Run one request to any number of answers. Closing the iterator cancels. Raises as `execute`."""
        with (
            self._instances.lend() as instance,
            full_device_told(self._step.name),
            contextlib.closing(instance.stream(request)) as answers,
        ):
            for answer in answers:
                yield checked(self._step, request, answer)

    def outside_bytes(self) -> int:
        """Memory of the worker processes (proportional set size)."""
        return self._instances.outside_bytes()

    def close(self) -> None:
        """Finalise the models and end their processes; what still runs after some seconds is killed."""
        self._instances.close(_CLOSE_GRACE_S)


class PythonBackend:
    """Loads Python steps."""

    def __init__(self, clock: Clock | None = None, load_timeout_s: float = 300.0) -> None:
        """`load_timeout_s` limits `initialize` of isolated steps; Triton has no limit, and then hangs for ever."""
        self._clock = clock or SystemClock()
        self._load_timeout_s = load_timeout_s
        self._spawner: Spawner | None = None
        self._lock = threading.Lock()

    def load(self, step: Step, config: ModelConfig, callees: CalleeRunner) -> LoadedStep:
        """Import and initialise all instances of a step. Blocking.

        Raises:
            LoadFailed: its code raised, hung or died.
            DeviceFull: its code says that memory ran out.
            InvalidArchive: it has no model file, or its configuration makes no sense.
            UnsupportedModel: it needs Triton itself.
        """
        caller = Callees(step, callees)
        plan = launches(step, config)
        started: list[Instance] = []
        try:
            with full_device_told(step.name):
                if runs_in_process(config):
                    started.extend(InProcessInstance(launch, caller) for launch in plan)
                else:
                    self._load_isolated(plan, caller, started)
        except BaseException:
            for instance in started:
                instance.close()
            raise
        return PythonStep(step, InstancePool(step.name, started))

    def _load_isolated(self, plan: list[Launch], caller: Callees, started: list[Instance]) -> None:
        """Start all processes first, so that they load side by side."""
        spawner = self._the_spawner()
        isolated: list[IsolatedInstance] = []
        for launch in plan:
            isolated.append(IsolatedInstance(launch, caller, spawner, self._clock, self._load_timeout_s))
            started.append(isolated[-1])
        for instance in isolated:
            instance.finish_loading()

    def _the_spawner(self) -> Spawner:
        with self._lock:
            if self._spawner is None:
                self._spawner = Spawner()
            return self._spawner

    def close(self) -> None:
        """End what the steps share. Every step is closed before."""
        with self._lock:
            if self._spawner is not None:
                self._spawner.close()
                self._spawner = None

"""The whole HTTP side over the real residency and codecs, with an engine and a source that do what a test says."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from server.api.app import build_app
from server.api.parts import HttpOptions, Parts
from server.codecs.registry import decode
from server.domain.clock import SystemClock
from server.domain.errors import DeviceFull, EngineLost, InferenceFailed, InvalidArchive, LoadFailed, StoreUnavailable
from server.domain.inference import InferenceRequest, InferenceResponse, Parameter, Tensor
from server.domain.model import CPU, StagedArchive, StepDigest
from server.domain.payload import InferenceType
from server.residency.options import ResidencyOptions
from server.residency.residency import Residency
from server.serving.address import AddressBook
from server.serving.admission import Admission
from server.serving.dispatcher import Dispatcher, DispatchOptions
from server.serving.model_control import ModelControl
from server.serving.quick_runs import QuickRuns
from server.store.registered import RegisteredFolders
from server.telemetry.metrics import Metrics
from server.telemetry.residency_metrics import ResidencyMetrics
from tests.contract.http_server import RunningServer, serving
from tests.fakes.engine import FakeEngine, echo
from tests.fakes.source import SIGNATURE, FakeSource, archive, digest_of, step

BUDGET = 100
BEHAVIOURS: dict[str, Callable[[], Exception]] = {
    "raises.tar.gz": lambda: InferenceFailed("the model said no"),
    "loses.tar.gz": lambda: EngineLost("the engine died"),
    "crashes.tar.gz": lambda: ZeroDivisionError("secret of the host"),
}
STAGING_FAULTS: dict[str, Exception] = {
    "corrupt.tar.gz": InvalidArchive("the tar file is cut off"),
    "unreachable.tar.gz": StoreUnavailable("the store does not answer"),
}
LOAD_FAULTS: dict[str, Exception] = {
    "BLOOM.tar.gz": LoadFailed("CUDA out of memory, says its name"),
    "oom.tar.gz": DeviceFull("oom.tar.gz", CPU),
}
COUNTS = "counts.tar.gz"
"""Decoupled: one response for each number it gets, but for those below."""
FAILS, LOSES, CRASHES, WAITS, SAYS_NOTHING = 13.0, 14.0, 15.0, 99.0, 0.0
SESSIONS = "sessions.tar.gz"
"""Echoes, and answers what it finds in its `parameters` by the request's `session_id`."""
PLAIN = (
    SESSIONS,
    "echo.tar.gz",
    "team/echo.tar.gz",
    "slow.tar.gz",
    "other.tar.gz",
    "dies-once.tar.gz",
    "big name's.tar.gz",
)


def step_of(name: str, size: int = 10) -> StepDigest:
    """The digest of an archive's only step."""
    return digest_of(f"{name}/{size}")


def one_step(name: str, size: int = 10) -> StagedArchive:
    """An archive with one echoing step of its own."""
    signature = replace(SIGNATURE, is_decoupled=name == COUNTS)
    return archive(name, step(name, size, content=f"{name}/{size}", signature=signature))


QUICK = {step_of("echo.tar.gz"), step_of("team/echo.tar.gz")}
MANY = 1000
"""Numbers from which on a request is not quick."""


class ScriptedEngine(FakeEngine):
    """Echoes; `slow.tar.gz` waits for `slow_open`; `dies-once.tar.gz` dies under its first request.

    `QUICK` are answered at once from their second request on, `runs_now` counts them; not while it `is_busy`.

    `said[session_id]` are the response parameters of `SESSIONS`; `asked` are the last request's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.slow_open = asyncio.Event()
        self.slow_running = 0
        self.slow_cancelled = 0
        self.deaths = 0
        self.streams = 0
        self.runs_now = 0
        self.is_busy = False
        self.said: dict[str, dict[str, Parameter]] = {}
        self.asked: dict[str, Parameter] = {}
        self.errors = {step_of(name): make for name, make in BEHAVIOURS.items()}
        self.faults = {step_of(name): [error] * 3 for name, error in LOAD_FAULTS.items()}

    def is_quick(self, digest: StepDigest, request: InferenceRequest) -> bool:
        return digest in QUICK and len(request.inputs["INPUT0"].data) < MANY

    def run_now(self, digest: StepDigest, request: InferenceRequest) -> InferenceResponse | None:
        if digest not in self.loaded or self.is_busy:
            return None
        self.runs_now += 1
        self.asked = dict(request.parameters)
        if digest in self.errors:
            error = self.errors[digest]()
            raise error
        return echo(digest, request)

    async def infer(self, digest: StepDigest, request: InferenceRequest) -> InferenceResponse:
        if digest in self.errors:
            error = self.errors[digest]()
            raise error
        if digest == step_of("dies-once.tar.gz") and not self.deaths:
            self.deaths += 1
            self.lose()
            raise EngineLost("the engine died")
        if digest == step_of("slow.tar.gz"):
            await self._wait()
        self.asked = dict(request.parameters)
        said = self.said.get(str(self.asked.get("session_id")), {}) if digest == step_of(SESSIONS) else {}
        return replace(echo(digest, request), parameters=said)

    async def stream(self, digest: StepDigest, request: InferenceRequest) -> AsyncGenerator[InferenceResponse, None]:
        if digest != step_of(COUNTS):
            yield await self.infer(digest, request)
            return
        self.streams += 1
        try:
            for number in request.inputs["INPUT0"].data.tolist():
                yield await self._counted(number)
        finally:
            self.streams -= 1

    async def _counted(self, number: float) -> InferenceResponse:
        if number == FAILS:
            raise InferenceFailed("unlucky")
        if number == LOSES:
            raise EngineLost("the engine died")
        if number == CRASHES:
            raise ZeroDivisionError("secret of the host")
        if number == WAITS:
            await self.slow_open.wait()
        outputs = () if number == SAYS_NOTHING else (Tensor("INPUT0", "FP32", np.array([number], np.float32)),)
        return InferenceResponse(outputs)

    async def _wait(self) -> None:
        self.slow_running += 1
        try:
            await self.slow_open.wait()
        except asyncio.CancelledError:
            self.slow_cancelled += 1
            raise
        finally:
            self.slow_running -= 1


class ScriptedSource(FakeSource):
    """The archives above, and every registered folder: an empty one is broken, one with `huge` does not fit."""

    def __init__(self, registered: RegisteredFolders) -> None:
        names = (COUNTS, *PLAIN, *BEHAVIOURS, *STAGING_FAULTS, *LOAD_FAULTS)
        super().__init__(*map(one_step, names), one_step("huge.tar.gz", BUDGET + 1))
        self._registered = registered
        registered.on_removed(lambda model: self.forget(model.name))
        self.faults = dict(STAGING_FAULTS)

    async def stage(self, name: str) -> StagedArchive:
        model = self._registered.find(name)
        if model is not None:
            if not any(model.folder.iterdir()):
                raise InvalidArchive(f"{name}: there is no model in the folder")
            size = BUDGET + 1 if (model.folder / "huge").exists() else 10
            self.archives[name] = one_step(name, size)
        return await super().stage(name)


@dataclass
class Wiring:
    """The parts that tests reach for."""

    load_root: Path
    default_model: str | None = None
    max_in_flight: int = 64
    max_body_bytes: int = 1 << 20
    timeout_s: float = 20.0
    load_wait_s: float = 10.0
    is_ready: bool = True
    inference_type: InferenceType = "infer"
    engine: ScriptedEngine = field(default_factory=ScriptedEngine)

    def __post_init__(self) -> None:
        clock = SystemClock()
        self.registered = RegisteredFolders(self.load_root)
        self.source = ScriptedSource(self.registered)
        self.metrics = Metrics()
        options = ResidencyOptions(failure_ttl_s=0.0, lost_retries=0, retry_pause_s=0.0)
        observer = ResidencyMetrics(self.metrics)
        self.residency = Residency(self.engine, self.source, {CPU: BUDGET}, clock, options, observer, self.engine)
        self.admission = Admission(self.max_in_flight)
        addresses = AddressBook(self.registered, self.default_model)
        self.parts = Parts(
            dispatcher=Dispatcher(
                self.residency,
                self.engine,
                decode,
                clock,
                self.admission,
                self.metrics,
                DispatchOptions(self.timeout_s, self.load_wait_s, lost_pause_s=0.01),
                quick=QuickRuns(self.engine, None),
            ),
            addresses=addresses,
            models=ModelControl(self.residency, self.source, self.registered, addresses),
            residency=self.residency,
            metrics=self.metrics,
            is_ready=lambda: self.is_ready and not self.admission.is_draining,
            options=HttpOptions(
                max_body_bytes=self.max_body_bytes, version="0.0.test", inference_type=self.inference_type
            ),
        )


@dataclass(frozen=True)
class FakeServer:
    """A running server and what it is made of."""

    running: RunningServer
    wiring: Wiring

    @property
    def url(self) -> str:
        return self.running.base_url


@contextmanager
def fake_server(wiring: Wiring) -> Iterator[FakeServer]:
    """Run the wiring behind a real HTTP server."""
    with serving(build_app(wiring.parts)) as server:
        try:
            yield FakeServer(server, wiring)
        finally:
            server.on_loop(wiring.engine.slow_open.set)
            server.on_loop(wiring.engine.loads_open.set)
            server.submit(wiring.residency.close()).result(10)

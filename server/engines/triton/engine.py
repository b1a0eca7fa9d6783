"""The Triton engine: loads steps into a supervised tritonserver, and runs requests through them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Mapping
from typing import Any, Final, TypeVar

from server.archive.model_config import parse
from server.domain.clock import Clock
from server.domain.errors import EngineLost, RoundhouseError, UnsupportedModel
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import CPU, Device, Footprint, Step, StepDigest
from server.domain.payload import Framed, FramedAnswer
from server.domain.sighting import Sighting
from server.engines.load_turns import LoadTurns
from server.engines.passing_bytes import guessed
from server.engines.triton.borrowed import Whereabouts
from server.engines.triton.loading import memory
from server.engines.triton.loading.loading import Loading
from server.engines.triton.loading.residents import Resident, Residents
from server.engines.triton.options import TritonOptions
from server.engines.triton.process.discovery import discover
from server.engines.triton.process.flags import parse_extra
from server.engines.triton.process.runtime_folder import RuntimeFolder
from server.engines.triton.process.supervisor import Supervisor, Timing
from server.engines.triton.server_run import Launcher, ServerRun
from server.engines.triton.wire.answers import answered, checked
from server.engines.triton.wire.errors import Refused, ServerGone, Subject, broken_model, infer_error

AnswerT = TypeVar("AnswerT")

_log = logging.getLogger("roundhouse.triton")
_LOG_LINES_TOLD: Final = 20
_NOTICE_S: Final = 2.0
"""How long a caller that met a broken connection waits for the process to be seen dead, so that its next call helps."""


class TritonEngine:
    """Implements `Engine` and `EngineLifecycle`. To be used from one event loop."""

    def __init__(self, options: TritonOptions, clock: Clock, environment: Mapping[str, str]) -> None:
        """Find a Triton; nothing is started.

        Raises:
            TritonMissing: there is none.
            UnknownFlag: `options.extra_args` has a flag that tritonserver lacks or the engine sets itself.
        """
        self._options = options
        self._clock = clock
        self._installation = discover(options.root, environment)
        self._launcher = Launcher(self._installation, options, parse_extra(options.extra_args), environment, clock)
        self._supervisor: Supervisor[ServerRun] = Supervisor(self._launcher.launch, self._died, Timing(clock))
        self._folder: RuntimeFolder | None = None
        self._on_lost: Callable[[Collection[StepDigest]], None] = lambda _digests: None
        self._residents = Residents()
        self._stub_backends = {"python", *self._launcher.emulated}
        self._loading = Loading(self._residents, options, clock, self._stub_backends)
        self._turns = LoadTurns()
        self._passing: dict[StepDigest, int] = {}
        self._unloads = self._unloading = 0
        self._clean_ups: set[asyncio.Task[None]] = set()

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self, on_lost: Callable[[Collection[StepDigest]], None]) -> None:
        """Start tritonserver and keep it running. Raises EngineLost if the first start fails."""
        self._on_lost = on_lost
        self._folder = await asyncio.to_thread(RuntimeFolder, self._options.runtime_dir)
        self._launcher.use_folder(self._folder)
        try:
            await self._supervisor.start()
        except BaseException:
            self._folder.close()
            raise

    async def stop(self) -> None:
        """End tritonserver with all its processes, shared memory and files. Idempotent."""
        await self._supervisor.stop()
        self._residents.clear()
        if self._clean_ups:
            await asyncio.wait(self._clean_ups)
        if self._folder is not None:
            await asyncio.to_thread(self._folder.close)

    def describe(self) -> Mapping[str, object]:
        """Facts for people. JSON-ready."""
        run = self._supervisor.current
        return {
            "kind": "triton",
            "installation": self._installation.kind,
            "version": run.version if run else "",
            "pid": run.pid if run else None,
            "ready": self.is_ready,
            "restarts": self._supervisor.restarts,
            "renewals": self._supervisor.renewals,
            "last_error": self._supervisor.last_error,
            "emulated_backends": list(self._launcher.emulated),
            "resident_steps": len(self._residents),
            "log": list(run.log.lines[-_LOG_LINES_TOLD:]) if run else [],
        }

    @property
    def is_ready(self) -> bool:
        """Whether tritonserver is up."""
        return self._supervisor.current is not None

    def _died(self, run: ServerRun) -> None:
        lost = self._residents.clear()
        _log.error("tritonserver %d took %d resident steps with it", run.pid, len(lost))
        self._on_lost(lost)

    # --- memory ---------------------------------------------------------------------------------------------------

    def passing_bytes(self) -> Mapping[Device, int]:
        """What the load under way may hold for a moment above what it is charged with."""
        return {CPU: sum(self._passing.values())}

    async def observe(self) -> Sighting | None:
        """Measure tritonserver and its Python processes, while nothing loads or unloads. See `EngineLifecycle`."""
        async with self._turns.turn(alone=True):
            run, unloads = self._supervisor.current, self._unloads
            if run is None or self._clean_ups or self._unloading:
                return None
            steps = {resident.step.digest: resident.model for resident in self._residents}
            folders = [run.repository.folder / model for model in steps.values()]
            staged = [resident.step.directory for resident in self._residents]
            held = await asyncio.to_thread(memory.family_bytes, run.pid, folders, staged)
            if self._supervisor.current is not run or self._unloads != unloads:
                return None
            return Sighting(frozenset(steps), {CPU: held}, {CPU: run.empty_bytes})

    @property
    def can_renew(self) -> bool:
        """Tritonserver is a process of its own."""
        return True

    async def renew(self) -> None:
        """Restart tritonserver while nobody uses it. See `EngineLifecycle`."""
        async with self._turns.turn(alone=True):
            try:
                await self._supervisor.renew(self._forget_residents, self._options.start_timeout_s)
            except EngineLost as error:
                _log.warning("tritonserver was stopped to be renewed, and is not up yet: %s", error)

    def _forget_residents(self) -> None:
        self._residents.clear()

    def predict(self, step: Step) -> Footprint:
        """What `step` will take; see `memory.predict`. Raises InvalidArchive if its config does not parse."""
        if step.predicted.bytes_by_device:
            return step.predicted
        config = parse((step.directory / "config.pbtxt").read_text())
        return memory.predict(step, config, is_stub=step.backend in self._stub_backends, gpus=self._options.gpus)

    async def load(self, step: Step) -> Footprint:
        """Load `step`; alone where it has to be measured, to tell what it takes from what others take.

        See `Engine.load`.
        """
        async with self._turns.turn(alone=not step.predicted.is_measured):
            run = await self._supervisor.running(self._options.start_timeout_s)
            self._passing[step.digest] = guessed(step)
            try:
                resident, footprint = await self._loading.load(run, step, self.predict(step))
            except asyncio.CancelledError:
                self._later(self._loading.unload(run, self._residents.name_for(step)))
                raise
            except EngineLost:
                await self._supervisor.noticed(run, _NOTICE_S)
                raise
            finally:
                del self._passing[step.digest]
            if self._supervisor.current is not run:
                raise EngineLost(f"tritonserver died while step {step.name!r} was loading")
            self._residents.add(resident)
            return footprint

    async def unload(self, digest: StepDigest) -> None:
        """Unload a step that nobody uses; returns when its processes are gone. Unknown digests are ignored."""
        resident = self._residents.pop(digest)
        run = self._supervisor.current
        if resident is not None and run is not None:
            self._unloads += 1
            self._unloading += 1
            try:
                await self._loading.unload(run, resident.model)
            finally:
                self._unloading -= 1

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._clean_ups.add(task)
        task.add_done_callback(self._clean_ups.discard)

    # --- requests -------------------------------------------------------------------------------------------------

    async def infer(self, digest: StepDigest, request: InferenceRequest) -> InferenceResponse:
        """Run one request through a resident step. See `Engine.infer`."""
        resident, run = self._find(digest)
        if resident.step.signature.is_decoupled:
            raise UnsupportedModel(f"step {resident.step.name!r} is decoupled: it answers only streaming requests")
        return answered(
            resident.step, request, await self._told(run, resident, run.http.infer(resident.model, request))
        )

    async def pass_on(self, digest: StepDigest, request: Framed) -> FramedAnswer:
        """Run one request as it came. See `PassingEngine.pass_on`."""
        resident, run = self._find(digest)
        return checked(resident.step, await self._told(run, resident, run.http.pass_on(resident.model, request)))

    async def _told(self, run: ServerRun, resident: Resident, answer: Awaitable[AnswerT]) -> AnswerT:
        """Await Triton's answer; what goes wrong is told in our words."""
        try:
            return await answer
        except Refused as refused:
            raise self._failure(run, resident, refused) from refused
        except ServerGone as gone:
            await self._supervisor.noticed(run, _NOTICE_S)
            raise EngineLost(f"tritonserver died while it ran step {resident.step.name!r}") from gone

    def whereabouts(self, digest: StepDigest) -> Whereabouts | None:
        """Where front-end workers can ask a resident step by themselves (`borrowed.py`); `None`: not there."""
        resident, run = self._residents.get(digest), self._supervisor.current
        if resident is None or run is None:
            return None
        return Whereabouts(run.http_port, resident.model, resident.device, dict(self._residents.author_names))

    async def stream(self, digest: StepDigest, request: InferenceRequest) -> AsyncGenerator[InferenceResponse, None]:
        """Run one request through a step that may be decoupled. See `Engine.stream`."""
        resident, run = self._find(digest)
        if not resident.step.signature.is_decoupled:
            yield await self.infer(digest, request)
            return
        try:
            async with contextlib.aclosing(run.grpc.stream(resident.model, request)) as answers:
                async for response in answers:
                    yield response
        except Refused as refused:
            raise self._failure(run, resident, refused) from refused
        except ServerGone as gone:
            await self._supervisor.noticed(run, _NOTICE_S)
            raise EngineLost(f"tritonserver died while it ran step {resident.step.name!r}") from gone

    def _find(self, digest: StepDigest) -> tuple[Resident, ServerRun]:
        resident, run = self._residents.get(digest), self._supervisor.current
        if resident is None or run is None:
            raise EngineLost("the step is not in tritonserver, which died or was restarted; ask again")
        return resident, run

    def _failure(self, run: ServerRun, resident: Resident, refused: Refused) -> RoundhouseError:
        """The error of a refused inference. A model whose process died is given up, so that it is loaded anew."""
        subject = Subject(resident.step.name, resident.device, dict(self._residents.author_names))
        broken = broken_model(refused)
        if broken is not None and self._supervisor.current is run:
            self._give_up(run, broken)
        return infer_error(refused, subject)

    def _give_up(self, run: ServerRun, model: str) -> None:
        gone = self._residents.broken(model)
        for resident in gone:
            is_dead = resident.model == model
            self._later((self._loading.abandon if is_dead else self._loading.unload)(run, resident.model))
        if gone:
            _log.warning("the process of step %r died; it is loaded again when asked for", gone[-1].step.name)
            self._on_lost([resident.step.digest for resident in gone])

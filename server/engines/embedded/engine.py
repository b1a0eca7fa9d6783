"""The embedded engine: executes Triton repositories inside this process, without a tritonserver.

One coroutine side (this file) and one thread side (`loading/loader.py`, `resident.py`): a request is checked on the
event loop, waits there for a free instance of its step, and then makes one hop to a thread that runs it to its end,
ensembles and BLS calls included.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

from server.domain.clock import SystemClock
from server.domain.errors import InferenceFailed, InvalidArchive, UnsupportedModel, UnsupportedOperation
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import CPU, Device, Footprint, Step, StepDigest
from server.domain.sighting import Sighting
from server.engines.embedded.answers.remembered_answers import RememberedAnswers
from server.engines.embedded.answers.remembering import answer_for
from server.engines.embedded.backends.ensemble import EnsembleBackend
from server.engines.embedded.backends.packed_files import PackedFiles
from server.engines.embedded.config.devices import Hardware, look_around, place
from server.engines.embedded.loaded_step import Backend
from server.engines.embedded.loading.loader import Loader, read_config
from server.engines.embedded.loading.loads import Loads
from server.engines.embedded.loading.packing import Packing
from server.engines.embedded.loading.settling import Settling
from server.engines.embedded.memory import host_memory
from server.engines.embedded.memory.footprint import predicted
from server.engines.embedded.memory.known_footprints import KnownFootprints
from server.engines.embedded.memory.load_peak import LoadPeaks
from server.engines.embedded.memory.sight import Overhead, see
from server.engines.embedded.memory.sweeping import Sweeping
from server.engines.embedded.memory.tidying import tidy
from server.engines.embedded.resident import Resident
from server.engines.embedded.running.pace import size_of
from server.engines.embedded.running.streaming import Stream
from server.engines.embedded.running.workers import Workers
from server.engines.load_turns import LoadTurns


class EmbeddedEngine:
    """Implements `domain.ports.Engine` and `EngineLifecycle`. Nothing is ever lost, so `on_lost` is never called."""

    def __init__(
        self,
        more_backends: Mapping[str, Backend] | None = None,
        threads: int | None = None,
        response_cache_bytes: int = 0,
        gpus: int | None = None,
        packed: PackedFiles | None = None,
        is_split: bool = False,
    ) -> None:
        """`more_backends` adds backends by name, or takes the place of the built-in ones.

        `threads`: of one ONNX execution, where a config does not say; by default the cores this process may use.
        `response_cache_bytes`: for answers of the steps whose configs say `response_cache { enable: true }`; 0: none.
        `gpus`: how many there are, where they were counted already.
        `packed`: where weights are kept as this processor wants them (`loading/packing.py`); None: in memory only.
        `is_split`: where the processor has tiles, packed steps multiply by halves (`split_products/`).
        """
        self._threads = threads
        self._gpus = gpus
        self._packed = packed
        self._is_split = is_split
        self._answers = RememberedAnswers(response_cache_bytes) if response_cache_bytes else None
        host_memory.tune_allocator()  # before anybody starts a thread: each brings an arena of its own
        self._more_backends = dict(more_backends or {})
        self._backends: dict[str, Backend] = {}
        self._hardware = Hardware()
        self._residents: dict[StepDigest, Resident] = {}
        self._workers = Workers("embedded")
        self._clock = SystemClock()
        self._turns = LoadTurns()
        self._peaks = LoadPeaks()
        self._known = KnownFootprints()
        self._overhead = Overhead()
        self._sweeping = Sweeping(self._workers, self._turns)
        self._settling = Settling(self._residents, self._turns, self._workers)
        self._loads = Loads(self._residents, self._turns, self._workers, self._sweeping, self._settling, self._clock)
        self._packing = Packing(self._residents, self._turns, self._workers, self._peaks)
        self._executions = 0
        self._loader = Loader({}, self._hardware, self._residents, self._activity)
        self._tidier: asyncio.Task[None] | None = None
        self._has_started = asyncio.Event()
        self._is_ready = False

    async def start(self, on_lost: Callable[[Collection[StepDigest]], None]) -> None:  # noqa: ARG002 (the port)
        """Import the backends."""
        if self._is_ready:
            return
        self._packing.begin()
        await self._workers.call(self._prepare)
        self._tidier = asyncio.create_task(tidy(self._activity, self._workers))
        self._has_started.set()
        self._is_ready = True

    async def stop(self) -> None:
        """Wait for what runs, free every step, end the threads. Idempotent; the engine cannot be started again."""
        self._is_ready = False
        if self._tidier is not None:
            self._tidier.cancel()
            with suppress(asyncio.CancelledError):
                await self._tidier
            self._tidier = None
        await self._loads.wait()
        await self._packing.close()
        await self._settling.close()
        for digest in reversed(list(self._residents)):
            await self.unload(digest)
        await self._sweeping.close()
        backends, self._backends = self._backends, {}
        for backend in backends.values():
            await self._workers.call(backend.close)
        await asyncio.to_thread(self._workers.close)

    @property
    def is_ready(self) -> bool:
        """Whether `start` has finished and `stop` has not begun."""
        return self._is_ready

    def describe(self) -> Mapping[str, object]:
        """Kind, version, backends, hardware, and what is loaded."""
        return {
            "kind": "embedded",
            "process_id": os.getpid(),
            "backends": sorted(self._backends),
            "onnxruntime_providers": list(self._hardware.providers),
            "gpus": self._hardware.gpus,
            "steps": len(self._residents),
            "packed_steps": self._packing.facts(),
            "running": self._activity()[1],
            "restarts": 0,
            "response_cache": self._answers.facts() if self._answers is not None else None,
        }

    def passing_bytes(self) -> Mapping[Device, int]:
        """What the loads under way may hold for a moment above what they are charged with; see `load_peak`."""
        return {CPU: self._peaks.current}

    async def observe(self) -> Sighting | None:
        """Measure what is in memory, at a moment at which nothing is loaded or unloaded. See `EngineLifecycle`."""
        if not self._is_ready:
            return None
        async with self._turns.turn(alone=True):
            await self._sweeping.sweep()
            activity = self._activity()
            residents = [*self._residents.values(), *self._loads.leaving.values()]
            overhead = self._overhead.in_process + (self._answers.facts()["bytes"] if self._answers is not None else 0)
            is_busy = activity[1] > 0
            sighting = await self._workers.call(partial(see, residents, overhead, is_disturbed=is_busy))
            return replace(sighting, is_disturbed=is_busy or self._activity() != activity)

    @property
    def can_renew(self) -> bool:
        """No: the engine is this process."""
        return False

    async def renew(self) -> None:
        """Raises UnsupportedOperation."""
        raise UnsupportedOperation("the embedded engine is part of the server's own process: restart the server")

    def predict(self, step: Step) -> Footprint:
        """The footprint of an earlier load, or a guess from the size of the files."""
        if step.predicted.bytes_by_device or step.backend == "ensemble":
            return predicted(step, None, CPU)
        try:
            config = read_config(step)  # some kilobytes that were written when the step was staged
            return predicted(step, config, place(config, step.backend, self._hardware))
        except (InvalidArchive, UnsupportedModel):  # `load` will say so
            return predicted(step, None, CPU)

    async def load(self, step: Step) -> Footprint:
        """Load in a worker thread; alone, where it has to be measured. A cancelled load is undone when it is through.

        Waits for `start`: a server whose /ping is `live` is asked while its backends are still being imported.
        """
        await self._has_started.wait()
        return await self._loads.load(self._loader, step)

    async def unload(self, digest: StepDigest) -> None:
        """Wait for what still runs, free the step and give its memory back to the system."""
        await self._loads.unload(digest)

    async def infer(self, digest: StepDigest, request: InferenceRequest) -> InferenceResponse:
        """Check, wait for an instance, run on one thread. A cancelled request runs on, unheard."""
        resident = self._admit(digest, request)
        if resident.answers is not None and resident.batches is not None:
            self._executions += 1
            return await self._workers.call(partial(resident.run, request))
        if resident.answers is not None:
            begin, execute = partial(self._begin, resident), partial(self._execute, resident, request)
            return await answer_for(resident.answers, digest, request, self._workers, begin, execute)
        if resident.batches is not None:
            self._executions += 1
            return await resident.batches.infer(request)
        if resident.pace is not None:
            size = size_of(request)
            if resident.pace.is_quick(size) and resident.instances.take_now():
                self._executions += 1
                return self._execute(resident, request, size)
            await self._begin(resident)
            return await self._workers.call(partial(self._execute, resident, request, size))
        await self._begin(resident)
        return await self._workers.call(partial(self._execute, resident, request))

    def is_quick(self, digest: StepDigest, request: InferenceRequest) -> bool:
        """Whether the step's runs have shown that the event loop may run this one. See `QuickEngine`."""
        resident = self._residents.get(digest)
        if resident is None or resident.pace is None or resident.answers is not None or resident.batches is not None:
            return False
        return not resident.step.signature.is_decoupled and resident.pace.is_quick(size_of(request))

    def run_now(self, digest: StepDigest, request: InferenceRequest) -> InferenceResponse | None:
        """Run a quick request on this thread, the event loop's. See `QuickEngine`."""
        resident = self._admit(digest, request)
        if not resident.instances.take_now():
            return None
        self._executions += 1
        return self._execute(resident, request, size_of(request))

    async def stream(self, digest: StepDigest, request: InferenceRequest) -> AsyncGenerator[InferenceResponse, None]:
        """As `infer`, to any number of answers; at most a few wait for the reader."""
        resident = self._admit(digest, request)
        if resident.answers is not None:
            yield await self.infer(digest, request)
            return
        await self._begin(resident)
        stream = Stream(self._workers, partial(resident.stream, request), resident.instances.give)
        answers = stream.items()
        try:
            async for answer in answers:
                yield answer
        finally:
            await answers.aclose()

    def _admit(self, digest: StepDigest, request: InferenceRequest) -> Resident:
        resident = self._residents.get(digest)
        if resident is None:
            raise InferenceFailed(f"step {digest[:12]} is not loaded")
        resident.admit(request)
        return resident

    async def _begin(self, resident: Resident) -> None:
        if not resident.instances.take_now():
            await resident.instances.take_async()
        self._executions += 1

    def _execute(self, resident: Resident, request: InferenceRequest, size: int | None = None) -> InferenceResponse:
        """Run with an instance, which is given back; with `size` (`pace.size_of`) the step's pace learns from it."""
        try:
            return resident.execute(request) if size is None else resident.execute_timed(request, size)
        finally:
            resident.instances.give()

    def _activity(self) -> tuple[int, int]:
        return self._executions, sum(resident.instances.in_use for resident in list(self._residents.values()))

    def _prepare(self) -> None:
        self._hardware = look_around(self._gpus)
        from server.engines.embedded.backends.dali import DaliBackend
        from server.engines.embedded.backends.onnxruntime import OnnxBackend, touch_runtime
        from server.engines.embedded.backends.python import PythonBackend
        from server.engines.embedded.split_products.split_library import split_library

        library = split_library() if self._is_split else None
        self._backends = {
            "onnxruntime": OnnxBackend(
                self._hardware, self._threads, self._packed, self._packing.ask, split_library=library
            ),
            "python": PythonBackend(),
            "dali": DaliBackend(self._hardware),
            "ensemble": EnsembleBackend(self._workers),
            **self._more_backends,
        }
        self._loader = Loader(
            self._backends,
            self._hardware,
            self._residents,
            self._activity,
            self._answers,
            self._peaks,
            self._known,
            overhead=self._overhead,
        )
        touch_runtime()
        self._overhead.begin()

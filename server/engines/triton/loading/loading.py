"""How a step gets into tritonserver and out of it again, with all its processes and files."""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Final

from server.domain.clock import Clock
from server.domain.errors import EngineLost
from server.domain.model import CPU, Device, Footprint, Step
from server.engines.process_memory import own_bytes
from server.engines.triton.loading import memory, plan_host
from server.engines.triton.loading.plan_check import PlanCheck
from server.engines.triton.loading.residents import Resident, Residents
from server.engines.triton.options import TritonOptions
from server.engines.triton.server_run import ServerRun
from server.engines.triton.wire.errors import Refused, ServerGone, Subject, load_error

_log = logging.getLogger("roundhouse.triton")
_POLL_S: Final = 0.02
_IN_MEMORY: Final = frozenset({"READY", "LOADING", "UNLOADING"})


class Loading:
    """Loads and unloads in a given run. Who may call it when is the engine's business."""

    def __init__(
        self,
        residents: Residents,
        options: TritonOptions,
        clock: Clock,
        stub_backends: Collection[str],
        check: Callable[[Step], None] | None = None,
    ) -> None:
        """`stub_backends`: those whose instances are Python processes. `check` refuses steps that cannot run here."""
        self._check = check or PlanCheck(plan_host.look_around)
        self._residents = residents
        self._options = options
        self._clock = clock
        self._stub_backends = frozenset(stub_backends)

    async def load(self, run: ServerRun, step: Step, predicted: Footprint) -> tuple[Resident, Footprint]:
        """Load `step`, and measure what it took, where no earlier load did: then nothing else may load meanwhile.

        Raises:
            LoadFailed, UnsupportedModel, InvalidArchive, DeviceFull, EngineLost: as `Engine.load`.
        """
        await asyncio.to_thread(self._check, step)
        resident = Resident(step, self._residents.name_for(step), main_device(predicted))
        calls = self._residents.names_of_calls(step)
        await asyncio.to_thread(run.repository.place, step, resident.model, calls)
        before = 0 if step.predicted.is_measured else await asyncio.to_thread(own_bytes, run.pid)
        try:
            await self._watch(run, resident, asyncio.ensure_future(run.grpc.load(resident.model)))
        except Refused as refused:
            subject = Subject(step.name, resident.device, dict(self._residents.author_names))
            await self._wait_gone(run, resident.model)
            raise load_error(refused, subject) from refused
        except ServerGone as gone:
            raise EngineLost(f"tritonserver died while step {step.name!r} was loading") from gone
        if step.predicted.is_measured:
            return resident, Footprint(step.predicted.bytes_by_device)
        return resident, await asyncio.to_thread(_measured, run, resident, before, predicted)

    async def unload(self, run: ServerRun, model: str) -> None:
        """Unload and wait until everything is gone; a server that dies meanwhile has freed it as well."""
        try:
            await run.grpc.unload(model)
        except Refused as refused:  # Triton does not know it (any more)
            _log.info("unload of %s: %s", model, refused.text)
        except ServerGone:
            return
        await self._wait_gone(run, model)

    async def abandon(self, run: ServerRun, model: str) -> None:
        """Ask Triton to unload a model whose process died, and do not wait: it never finishes."""
        run.is_wedged = True
        try:
            await run.grpc.unload(model)
        except (Refused, ServerGone) as error:
            _log.info("unload of %s: %s", model, error)
        await asyncio.to_thread(run.repository.remove, model)

    async def _watch(self, run: ServerRun, resident: Resident, loading: "asyncio.Future[None]") -> None:
        """Await the load. A Triton that waits for a dead stub does so for ever, and for all loads: it is killed."""
        was_dead = False
        is_stub = resident.step.backend in self._stub_backends
        try:
            while not (await asyncio.wait({loading}, timeout=self._options.stuck_after_s))[0]:
                stubs = await asyncio.to_thread(memory.stubs, run.pid, run.repository.folder / resident.model)
                is_dead = is_stub and not stubs
                if is_dead and was_dead:
                    _log.error("tritonserver waits for a Python process that died; it is killed")
                    run.kill()
                was_dead = is_dead
            loading.result()
        finally:
            loading.cancel()

    async def _wait_gone(self, run: ServerRun, model: str) -> None:
        """Wait until Triton has let go of the model and its stubs have ended, then remove its files."""
        deadline = self._clock.now() + self._options.unload_timeout_s
        try:
            while (await run.http.states()).get(model) in _IN_MEMORY and self._clock.now() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)  # Triton tells only when asked
        except (ServerGone, Refused):
            return
        folder = run.repository.folder / model
        while left := await asyncio.to_thread(memory.stubs, run.pid, folder):
            if self._clock.now() > deadline:
                for stub in left:
                    _log.warning("process %d of an unloaded model is killed", stub.pid)
                    stub.kill()
            await asyncio.sleep(_POLL_S)
        await asyncio.to_thread(run.repository.remove, model)


def main_device(footprint: Footprint) -> Device:
    """The device that takes most: the one that is full when an engine runs out of memory."""
    return max(footprint.bytes_by_device, key=footprint.on, default=CPU)


def _measured(run: ServerRun, resident: Resident, before: int, predicted: Footprint) -> Footprint:
    """Host memory is measured: the model's stubs, and what tritonserver itself grew by. GPUs are as predicted."""
    grown = max(0, own_bytes(run.pid) - before)
    taken = grown + memory.step_bytes(run.pid, run.repository.folder / resident.model, resident.step.directory)
    return Footprint({**predicted.bytes_by_device, CPU: taken})

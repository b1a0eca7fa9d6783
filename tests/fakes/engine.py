"""An engine without models: loads cost what a test says, fail when it says, and wait for its gate."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping

from server.domain.errors import Bug, DeviceFull, InferenceFailed
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import CPU, Device, Footprint, Step, StepDigest
from server.domain.sighting import Sighting

Answer = Callable[[StepDigest, InferenceRequest], InferenceResponse]


def echo(digest: StepDigest, request: InferenceRequest) -> InferenceResponse:
    """Give the inputs back as outputs."""
    return InferenceResponse(tuple(request.inputs.values()))


class FakeEngine:
    """Implements the port `Engine`. A step takes `step.file_bytes` on `device` unless `measured` says otherwise.

    `loads_open` and `unloads_open` are gates: `clear()` one to hold every load (unload) until it is `set()` again.
    `faults[digest]` is a list of errors: each load of that digest raises (and uses up) the first.
    `capacity_bytes` is what the device really has: a load beyond it raises DeviceFull.
    `history` lists `("load" | "unload", step name)` in the order in which they began.
    """

    def __init__(
        self,
        device: Device = CPU,
        capacity_bytes: int | None = None,
        load_s: float = 0.0,
        unload_s: float = 0.0,
        answer: Answer = echo,
    ) -> None:
        self.device = device
        self.capacity_bytes = capacity_bytes
        self.load_s = load_s
        self.unload_s = unload_s
        self.answer = answer
        self.predicted: dict[StepDigest, Footprint] = {}
        self.measured: dict[StepDigest, Footprint] = {}
        self.faults: dict[StepDigest, list[Exception]] = {}
        self.loaded: dict[StepDigest, Step] = {}
        self.loading: set[StepDigest] = set()
        self.passing: dict[Device, int] = {}
        self.most_loading = 0
        self.history: list[tuple[str, str]] = []
        self.loads_open = asyncio.Event()
        self.loads_open.set()
        self.unloads_open = asyncio.Event()
        self.unloads_open.set()
        self.is_ready = True
        self.leak_bytes = 0
        """What each unload leaves behind, charged to nobody; a renewal frees it."""
        self.leaked_bytes = 0
        self.noise_bytes = iter(())
        """What each observation shows besides."""
        self.renewal_s = 0.0
        self.renewals = 0
        self.can_renew = True
        self._on_lost: Callable[[Collection[StepDigest]], None] | None = None

    # The port `Engine`

    def predict(self, step: Step) -> Footprint:
        return self.predicted.get(step.digest) or Footprint({self.device: step.file_bytes})

    async def load(self, step: Step) -> Footprint:
        if step.digest in self.loading or step.digest in self.loaded:
            raise Bug(f"step {step.name!r} is loaded twice")
        missing = [name for name, callee in step.calls.items() if callee not in self.loaded]
        if missing:
            raise Bug(f"step {step.name!r} is loaded before {missing}, which it calls")
        self.loading.add(step.digest)
        self.most_loading = max(self.most_loading, len(self.loading))
        self.history.append(("load", step.name))
        try:
            await self.loads_open.wait()
            await asyncio.sleep(self.load_s)
            self._raise_fault(step)
            self.loaded[step.digest] = step
        finally:
            self.loading.discard(step.digest)
        return self._footprint(step)

    async def unload(self, digest: StepDigest) -> None:
        step = self.loaded.get(digest)
        if step is None:
            return
        used_by = [other.name for other in self.loaded.values() if digest in other.calls.values()]
        if used_by:
            raise Bug(f"step {step.name!r} is unloaded while {used_by} call it")
        self.history.append(("unload", step.name))
        await self.unloads_open.wait()
        await asyncio.sleep(self.unload_s)
        self.loaded.pop(digest, None)
        self.leaked_bytes += self.leak_bytes

    async def infer(self, digest: StepDigest, request: InferenceRequest) -> InferenceResponse:
        if digest not in self.loaded:
            raise InferenceFailed(f"step {digest[:8]} is not loaded")
        await asyncio.sleep(0)
        return self.answer(digest, request)

    async def stream(self, digest: StepDigest, request: InferenceRequest) -> AsyncGenerator[InferenceResponse, None]:
        yield await self.infer(digest, request)

    # The port `EngineLifecycle`

    def passing_bytes(self) -> Mapping[Device, int]:
        return self.passing

    async def observe(self) -> Sighting | None:
        steps = frozenset(self.loaded)
        await asyncio.sleep(0)
        if self.loading or steps != set(self.loaded):
            return None
        held = self.used_bytes + self.leaked_bytes + next(self.noise_bytes, 0)
        return Sighting(steps, {self.device: held}, {self.device: 0})

    async def renew(self) -> None:
        self.loaded.clear()
        self.is_ready = False
        await asyncio.sleep(self.renewal_s)
        self.leaked_bytes = 0
        self.renewals += 1
        self.is_ready = True

    async def start(self, on_lost: Callable[[Collection[StepDigest]], None]) -> None:
        self._on_lost = on_lost
        self.is_ready = True

    async def stop(self) -> None:
        self.loaded.clear()
        self.is_ready = False

    def describe(self) -> Mapping[str, object]:
        return {"kind": "fake"}

    # For tests

    @property
    def used_bytes(self) -> int:
        """Bytes that the loaded steps really take on the device."""
        return sum(self._footprint(step).on(self.device) for step in self.loaded.values())

    def lose(self) -> list[StepDigest]:
        """Lose every step as if the engine's process had died, and tell whoever asked in `start`."""
        lost = list(self.loaded)
        self.loaded.clear()
        if self._on_lost is not None:
            self._on_lost(lost)
        return lost

    def _footprint(self, step: Step) -> Footprint:
        return self.measured.get(step.digest) or Footprint({self.device: step.file_bytes})

    def _raise_fault(self, step: Step) -> None:
        if faults := self.faults.get(step.digest):
            raise faults.pop(0)
        wanted = self._footprint(step).on(self.device)
        if self.capacity_bytes is not None and self.used_bytes + wanted > self.capacity_bytes:
            raise DeviceFull(step.name, self.device)

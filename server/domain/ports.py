"""The two outside worlds that the middle talks to, as their callers need them.

`main.py` hands an implementation in; `tests/contract/` runs one suite of promises against each of them.
"""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from typing import Protocol, TypeAlias, runtime_checkable

from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import Device, Footprint, StagedArchive, Step, StepDigest
from server.domain.payload import Framed, FramedAnswer
from server.domain.sighting import Sighting


class Engine(Protocol):
    """Loads steps and executes them. Safe to call for different steps at the same time from one event loop."""

    def predict(self, step: Step) -> Footprint:
        """Say what `step` will take, and on which devices, before it is loaded. Never blocks."""
        ...

    async def load(self, step: Step) -> Footprint:
        """Make `step` ready; the steps it calls are resident already. Returns the measured footprint.

        Raises:
            LoadFailed, UnsupportedModel, InvalidArchive: it never will be; nothing of it stays in memory.
            DeviceFull: the device ran out of memory.
            DiskFull: the engine has no room on disk for the step; a later load may succeed.
            EngineLost: the engine's process died; a later load may succeed.
        """
        ...

    async def unload(self, digest: StepDigest) -> None:
        """Free the step, which nobody uses; returns when its memory is back. Unknown digests are ignored."""
        ...

    async def infer(self, digest: StepDigest, request: InferenceRequest) -> InferenceResponse:
        """Run one request through a resident step.

        Raises:
            InvalidRequest: the inputs do not fit the step.
            InferenceFailed, UnsupportedModel (a decoupled step), DeviceFull, EngineLost.
        """
        ...

    def stream(self, digest: StepDigest, request: InferenceRequest) -> AsyncGenerator[InferenceResponse, None]:
        """Run one request through a step that may be decoupled; closing the iterator cancels it. Raises as `infer`."""
        ...


@runtime_checkable
class QuickEngine(Engine, Protocol):
    """An engine that can run some requests in the caller's own turn of the event loop. Both calls never wait."""

    def is_quick(self, digest: StepDigest, request: InferenceRequest) -> bool:
        """Say whether the request takes so little that a hop to a thread would take longer. Cheap."""
        ...

    def run_now(self, digest: StepDigest, request: InferenceRequest) -> InferenceResponse | None:
        """Run a quick request; `None` where all instances are busy, and then nothing happened. Raises as `infer`."""
        ...


@runtime_checkable
class PassingEngine(Engine, Protocol):
    """An engine that speaks KServe v2, so that some requests need no decoding (`codecs/kserve/kserve_passing.py`)."""

    async def pass_on(self, digest: StepDigest, request: Framed) -> FramedAnswer:
        """Run a request as it came; the answer has the outputs that the step's config promises, or those asked for.

        Raises as `infer`.
        """
        ...


class EngineLifecycle(Protocol):
    """Starting and stopping of an engine, for the composition root only."""

    async def start(self, on_lost: Callable[[Collection[StepDigest]], None]) -> None:
        """Start; call `on_lost` (on the event loop) with the steps that vanish whenever the engine's process dies."""
        ...

    async def stop(self) -> None:
        """Stop, and free everything. Idempotent."""
        ...

    def describe(self) -> Mapping[str, object]:
        """Facts for people: kind, version, process id, restarts. JSON-ready."""
        ...

    @property
    def is_ready(self) -> bool:
        """Whether loads and inferences can be accepted right now."""
        ...

    async def observe(self) -> Sighting | None:
        """Measure what the engine's processes hold; waits for a moment at which nothing is loaded. Milliseconds.

        `None`: there is nothing to be measured, or no such moment came.
        """
        ...

    @property
    def can_renew(self) -> bool:
        """Whether `renew` can work: not where the engine is this very process."""
        ...

    async def renew(self) -> None:
        """Replace the engine's process by a fresh, empty one. Nobody uses the engine; `on_lost` is not called.

        Returns when it is up, or will be: a process that does not start is tried again as after a death.

        Raises:
            UnsupportedOperation: the engine has no process of its own.
        """
        ...

    def passing_bytes(self) -> Mapping[Device, int]:
        """Say what loads hold for a moment, at their worst, above the footprints that they will report."""
        ...


class ArchiveSource(Protocol):
    """Where archives come from: explicitly loaded folders, then a folder or an S3 prefix."""

    def current(self, name: str) -> StagedArchive | None:
        """The staged archive if its content was verified recently; never blocks. `None` means: call `stage`."""
        ...

    def claim(self, name: str) -> StagedArchive | None:
        """Like `current`, for who may be about to load it: its files stay on disk for a moment."""
        ...

    async def stage(self, name: str) -> StagedArchive:
        """Verify, fetch and unpack what is missing; single flight per name; returns the current content.

        The flight that fetched or unpacked answers with `staged_from="store"`, later ones with "disk": compare `key`s.

        Raises:
            ArchiveNotFound, InvalidArchive, UnsupportedModel, DiskFull, StoreUnavailable.
            NotReady: everybody who wanted it had given up while it waited for room on disk.
        """
        ...

    async def names(self) -> list[str]:
        """Every archive that could be asked for, sorted. Raises StoreUnavailable."""
        ...

    def retain(self, digests: Collection[StepDigest]) -> None:
        """Tell which steps are resident or loading: their files must stay on disk."""
        ...


BudgetByDevice: TypeAlias = Mapping[Device, int]

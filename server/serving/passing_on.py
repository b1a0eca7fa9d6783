"""The raw pass-through: requests that need neither decoding nor batching go to the engine as the bytes that came."""

from typing import Protocol

from server.codecs.kserve.kserve_passing import Passing, passing
from server.domain.model import StagedArchive
from server.domain.payload import FramedAnswer, Payload
from server.domain.ports import PassingEngine


class Lines(Protocol):
    """Where requests gather that run together (the batcher)."""

    def runs_apart(self, archive: StagedArchive) -> bool:
        """Whether it is known that requests of this archive are never merged."""
        ...


class PassingOn:
    """Knows which requests pass, and passes them on."""

    def __init__(self, engine: PassingEngine, lines: Lines | None) -> None:
        """`lines`: None where nothing is merged."""
        self._engine = engine
        self._lines = lines

    def of(self, payload: Payload, archive: StagedArchive) -> Passing | None:
        """The request as it may go on; None where it takes the usual road. Nothing is raised."""
        if archive.signature.is_decoupled or (self._lines is not None and not self._lines.runs_apart(archive)):
            return None
        return passing(payload, archive)

    async def run(self, archive: StagedArchive, request: Passing) -> FramedAnswer:
        """Run it. Raises as `Engine.infer`."""
        return await self._engine.pass_on(archive.entry, request.request)

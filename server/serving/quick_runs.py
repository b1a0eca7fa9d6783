"""Requests that are answered on the spot: on the event loop, without a task, without waiting for anything.

What may run so has shown that it is quick: earlier requests of its archive were, by the engine's own account
(`QuickEngine.is_quick`), and one of them was as large. Everything else takes the usual road (`dispatcher.py`), where
this is learnt. Lives on one event loop.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import StagedArchive
from server.domain.payload import Payload
from server.domain.ports import QuickEngine

MOST_KNOWN: Final = 4096
"""Archives that are remembered; when there are more, all are learnt again."""


class Lines(Protocol):
    """Where requests gather that run together (the batcher)."""

    def lets_pass(self, archive: StagedArchive) -> bool:
        """Whether a request of this archive would run alone and now."""
        ...

    def ran_alone(self, archive: StagedArchive, request: InferenceRequest) -> None:
        """Note that one did."""
        ...


@dataclass(slots=True)
class _Quick:
    archive: StagedArchive
    body_bytes: int


class QuickRuns:
    """Knows which archives are quick, and runs their requests."""

    def __init__(self, engine: QuickEngine, lines: Lines | None, most_known: int = MOST_KNOWN) -> None:
        """`lines`: None where nothing is merged."""
        self._most_known = most_known
        self._engine = engine
        self._lines = lines
        self._known: dict[str, _Quick] = {}

    def __len__(self) -> int:
        """Archives that are known."""
        return len(self._known)

    def learn(self, name: str, archive: StagedArchive, payload: Payload, request: InferenceRequest) -> None:
        """A request was answered on the usual road: would it have been quick?"""
        if not self._engine.is_quick(archive.entry, request):
            return
        size = len(payload.body)
        known = self._known.get(name)
        if known is not None and known.archive is archive:
            known.body_bytes = max(known.body_bytes, size)
            return
        if len(self._known) >= self._most_known:
            self._known.clear()
        self._known[name] = _Quick(archive, size)

    def forget(self, name: str) -> None:
        """Its requests take the usual road again, until one of them was quick."""
        self._known.pop(name, None)

    def archive_of(self, name: str, payload: Payload) -> StagedArchive | None:
        """The content that a request may run on at once, as far as that can be said before it is decoded."""
        known = self._known.get(name)
        return known.archive if known is not None and len(payload.body) <= known.body_bytes else None

    def lets_pass(self, archive: StagedArchive, request: InferenceRequest) -> bool:
        """Whether `run` is likely to take the request."""
        return self._engine.is_quick(archive.entry, request) and (self._lines is None or self._lines.lets_pass(archive))

    def run(self, archive: StagedArchive, request: InferenceRequest) -> InferenceResponse | None:
        """Run a request; None where it would have to wait, and then nothing happened. Raises as `Engine.infer`."""
        response = self._engine.run_now(archive.entry, request)
        if response is not None and self._lines is not None:
            self._lines.ran_alone(archive, request)
        return response

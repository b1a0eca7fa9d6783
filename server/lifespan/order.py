"""In which order the parts begin and end. What began last ends first."""

import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server.domain.ports import EngineLifecycle
from server.lifespan.rounds import Rounds
from server.residency.residency import Residency
from server.serving.admission import Admission
from server.serving.model_control import ModelControl
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What has to be in memory before the server is ready."""

    single: tuple[str, Path] | None = None
    """Single-model mode: what the model is called, and the folder with its repository."""
    preload: tuple[str, ...] = ()
    pin: tuple[str, ...] = ()
    is_ready_at_once: bool = False
    """Whether `/ping` is 200 as soon as the port is open."""


class Order:
    """Begins, drains and ends a server; knows when it is ready."""

    def __init__(
        self,
        wishes: Wishes,
        registered: RegisteredFolders,
        source: ArchiveStore,
        engine: EngineLifecycle,
        residency: Residency,
        models: ModelControl,
        admission: Admission,
        rounds: Sequence[Rounds],
    ) -> None:
        self._wishes = wishes
        self._registered = registered
        self._source = source
        self._engine = engine
        self._residency = residency
        self._models = models
        self._admission = admission
        self._rounds = rounds
        self._has_begun = False

    def is_ready(self) -> bool:
        """Whether `/ping` is 200."""
        if self._admission.is_draining:
            return False
        return self._wishes.is_ready_at_once or (self._has_begun and self._engine.is_ready)

    async def begin(self) -> None:
        """Open the cache, start the engine, preload; then the server is ready.

        Raises:
            RoundhouseError: nothing can be served, and why.
        """
        await self._source.start()
        await self._engine.start(self._residency.lost)
        _set_apart_what_stays()
        preload = self._wishes.preload
        if self._wishes.single is not None:
            name, folder = self._wishes.single
            self._registered.add(name, folder, is_trusted=True)
            preload = (name, *preload)
        for name in preload:
            _log.info("preloading %s", name)
            await self._models.preload(name)
        for name in self._wishes.pin:
            _log.info("pinning %s", name)
            await self._models.pin(name)
        for each in self._rounds:
            each.begin()
        self._has_begun = True

    async def drain(self, timeout_s: float) -> None:
        """Refuse what is new, let finish what runs."""
        if not await self._admission.drain(timeout_s):
            _log.warning("%d requests did not finish within %g s", self._admission.running, timeout_s)

    async def end(self) -> None:
        """Free everything, in the reverse order."""
        for each in reversed(self._rounds):
            await each.end()
        await self._residency.close()
        await self._engine.stop()
        await self._source.close()


def _set_apart_what_stays() -> None:
    """Spare the garbage collector what was imported and assembled: it lives as long as the process.

    A full collection (each unload makes one) holds all threads up for 90 ms otherwise, and for 2 ms with this.
    """
    gc.collect()
    gc.freeze()

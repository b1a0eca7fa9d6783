"""A worker's parts: what stands in it where the single process has residency, and the hot path for each lease."""

from dataclasses import dataclass
from math import ceil
from typing import Protocol

from starlette.types import Receive, Scope, Send

from server.api.doors import doors, guarded
from server.api.hot_path import HotPath
from server.api.parts import HttpOptions
from server.api.restricted import restrictions
from server.codecs import registry
from server.domain.clock import Clock
from server.domain.errors import ArchiveNotFound, EngineLost
from server.domain.model import StagedArchive, Step, StepDigest
from server.domain.ports import Engine, PassingEngine
from server.engines.triton.borrowed import Whereabouts
from server.residency.leases import Lease
from server.residency.planning.records import ArchiveRecord
from server.serving.address import AddressBook
from server.serving.admission import Admission
from server.serving.batcher import Batcher
from server.serving.dispatcher import Dispatcher, DispatchOptions
from server.serving.passing_on import PassingOn
from server.settings import Settings, part_options
from server.store.registered import RegisteredFolders
from server.workers.front.app import Way
from server.workers.front.relay import Relay
from server.workers.front.tally import LeaseTally, Tally


class Borrowed(Engine, Protocol):
    """An engine that runs what it was told of (`engines/triton/borrowed.py`)."""

    def learn(self, step: Step, at: Whereabouts) -> None:
        """The step is there."""
        ...

    def forget(self, digest: StepDigest) -> None:
        """Whoever said `learn` needs the step no more."""
        ...

    def close(self) -> None:
        """Drop all connections."""
        ...


@dataclass(frozen=True, slots=True)
class FrontParts:
    """An `api.parts.InferenceParts` for one archive."""

    dispatcher: Dispatcher
    addresses: AddressBook
    options: HttpOptions


class Assembly:
    """Puts a hot path together for each lease. Lives on one event loop."""

    def __init__(self, settings: Settings, engine: Borrowed, relay: Relay, tally: Tally, clock: Clock) -> None:
        self._relay = relay
        self._clock = clock
        self._timeouts = DispatchOptions(timeout_s=settings.request_timeout_s, lost_pause_s=0.0)
        self._doors = doors(clock, settings.inference_type)
        self._engine = engine
        batching = part_options.batching(settings, gpus=0)
        self._batcher = Batcher(self._engine, clock, tally, batching) if batching else None
        self._passing = PassingOn(engine, self._batcher) if isinstance(engine, PassingEngine) else None
        self.options = HttpOptions(
            max_body_bytes=settings.max_body,
            restrictions=restrictions(settings.restrict_api),
            default_accept=settings.default_accept or "",
            inference_type=settings.inference_type,
        )
        self.admission = Admission(ceil(settings.max_in_flight / settings.workers))
        """Of what may be inside, this worker's share; what is passed on is counted in the home process."""

    @property
    def is_guarded(self) -> bool:
        """Whether anything is put around the hot path, so that requests have to come by ASGI."""
        return bool(self.options.restrictions or self.options.default_accept)

    def general(self) -> HotPath:
        """A hot path of no archive, which knows the routes."""
        nothing = LeaseTally(0, self._clock, notes_arrivals=False)
        return self._hot_path("", NoLease(), nothing)

    def way(self, archive: StagedArchive, at: Whereabouts, tally: LeaseTally) -> Way:
        """How to answer requests for an archive whose entry model is there."""
        self._engine.learn(archive.entry_step, at)
        hot_path = self._hot_path(archive.name, OneLease(archive), tally)
        return Way(archive, hot_path, guarded(hot_path, self.options))

    def forget(self, archive: StagedArchive) -> None:
        """The lease has come back."""
        self._engine.forget(archive.entry)

    def close(self) -> None:
        """Drop the connections to the engine."""
        self._engine.close()

    def _hot_path(self, name: str, leases: "OneLease | NoLease", tally: LeaseTally) -> HotPath:
        dispatcher = Dispatcher(
            leases,
            self._engine,
            registry.decode,
            self._clock,
            self.admission,
            tally,
            self._timeouts,
            self._batcher.infer if self._batcher else None,
            passing=self._passing,
        )
        return HotPath(FrontParts(dispatcher, OneName(name), self.options), self._doors, self._pass_on)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._relay.pass_on(scope, receive, send)


class OneName(AddressBook):
    """Who comes here was found by address: every spelling means the one archive."""

    def __init__(self, name: str) -> None:
        super().__init__(RegisteredFolders())
        self._name = name

    def by_target(self, target: str) -> str:  # noqa: ARG002
        """The name."""
        return self._name

    def by_name(self, said: str) -> str:  # noqa: ARG002
        """The name."""
        return self._name

    def by_version(self, said: str, version: str) -> str:  # noqa: ARG002
        """The name."""
        return self._name

    def by_id(self, id: str, target: str) -> str:  # noqa: A002, ARG002
        """The name."""
        return self._name


class OneLease:
    """Stands where residency stands, for one archive: who comes here holds the worker's lease on it (`held.py`)."""

    def __init__(self, archive: StagedArchive) -> None:
        self._record = ArchiveRecord(archive, (), 0.0, 0)

    def try_lease(self, name: str) -> Lease:  # noqa: ARG002
        """A use of the worker's lease."""
        return Lease(self._record, _keep)

    async def lease(self, name: str, timeout_s: float, patience_s: float = 0.0) -> Lease:  # noqa: ARG002
        """There is no second try here: the home process has it. Raises EngineLost."""
        raise EngineLost(f"the engine of archive {name!r} is being restarted")


class NoLease:
    """Where no archive is meant."""

    def try_lease(self, name: str) -> None:
        """None."""

    async def lease(self, name: str, timeout_s: float, patience_s: float = 0.0) -> Lease:  # noqa: ARG002
        """Raises ArchiveNotFound."""
        raise ArchiveNotFound(name)


def _keep(record: ArchiveRecord) -> None:
    """The use ends; the worker keeps the lease."""

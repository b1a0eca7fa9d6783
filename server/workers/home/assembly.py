"""The home side's parts, put together, and workers in the life of the server."""

import asyncio
from collections.abc import Callable, Mapping
from socket import socket
from typing import Final, NamedTuple, Protocol, runtime_checkable

from server.api.door import Call, Door, match
from server.api.doors import doors
from server.api.sagemaker.headers import TARGET_MODEL
from server.api.surface import Surface
from server.domain.clock import Clock
from server.domain.errors import RoundhouseError
from server.domain.model import StepDigest
from server.domain.ports import Engine
from server.engines.triton.borrowed import Whereabouts
from server.lifespan.process import Life, listen
from server.lifespan.rounds import Rounds
from server.residency.lending import Lending
from server.residency.residency import Residency
from server.serving.address import AddressBook
from server.settings import Settings, part_options
from server.store.registered import RegisteredFolders
from server.workers.home.desk import TICK_S, Desk
from server.workers.home.lent_out import Patience
from server.workers.home.uses_log import UsesLog
from server.workers.home.workforce import RelayFolder, Workforce, open_port
from server.workers.words import Address, Welcome

SPARE_S: Final = 15.0
"""Beyond its time limit, until what a worker runs counts as stuck."""


@runtime_checkable
class Borrowable(Protocol):
    """An engine that other processes can ask."""

    def whereabouts(self, digest: StepDigest) -> Whereabouts | None:
        """Where a resident step can be asked; `None`: not there."""
        ...


def desk_for(
    settings: Settings, engine: Engine, residency: Residency, addresses: AddressBook, told: UsesLog, clock: Clock
) -> Desk | None:
    """Where workers get leases, if there are to be any. Raises ValueError where this engine has none."""
    if settings.workers == 1:
        return None
    part_options.front_end(settings)
    assert isinstance(engine, Borrowable)
    return Desk(
        residency.lending,
        finder(addresses, doors(clock, settings.inference_type)),
        engine.whereabouts,
        told,
        clock,
        part_options.lease_valid_s(settings),
        Patience(run_s=settings.request_timeout_s + SPARE_S),
    )


def finder(addresses: AddressBook, doors: Mapping[Surface, Door]) -> Callable[[Address], str | None]:
    """Say which archive an address means, as the hot path would; `None` where no worker answers such requests."""

    def find(address: Address) -> str | None:
        path, target = address
        route = match(path)
        if route is None or route.is_generate or doors[route.surface].is_stream(route):
            return None
        headers = {TARGET_MODEL: target.encode("latin-1")} if target else {}
        try:
            return doors[route.surface].archive(addresses, Call(route, headers))
        except RoundhouseError:
            return None

    return find


def listen_to(desk: Desk, lending: Lending, registered: RegisteredFolders) -> None:
    """Let the desk hear of everything that calls a lease back."""
    lending.on_change(desk.settle)
    registered.on_added(lambda _: desk.readdress())
    registered.on_removed(lambda _: desk.readdress())


def with_workers(life: Life, workforce: Workforce, desk: Desk, folder: RelayFolder) -> Life:
    """Return the life of a server whose port workers answer: they begin first, so that health checks are answered.

    They drain as the home process does, and end before it closes: until then they pass requests on, to be refused.
    """

    async def tick() -> None:
        desk.tick()

    rounds = Rounds("renewing leases", tick, TICK_S)

    async def begin() -> None:
        workforce.begin()
        rounds.begin()
        await life.begin()
        await workforce.ready()

    async def drain(timeout_s: float) -> None:
        await asyncio.gather(life.drain(timeout_s), workforce.drain(timeout_s))
        await rounds.end()
        await workforce.end()

    async def end() -> None:
        await workforce.end()
        await life.end()
        folder.remove()

    return Life(begin, drain, end)


class Entrance(NamedTuple):
    """Where this process answers HTTP, the port that callers know, and the life of a server that opens it."""

    opened: socket
    port: int
    life: Life


def open_door(settings: Settings, desk: Desk | None, life: Life, clock: Clock) -> Entrance:
    """Open the port: in this process, or for workers, who pass on to it. Raises OSError, with the address."""
    if desk is None:
        opened = listen(settings.host, settings.port)
        return Entrance(opened, _port_of(opened), life)
    shared = open_port(settings.host, settings.port, settings.workers)
    folder = RelayFolder()
    said = Welcome(part_options.front_end(settings), folder.path, notes_arrivals=settings.access_log is not None)
    workforce = Workforce(shared, said, desk, clock)
    return Entrance(folder.opened, _port_of(shared[0]), with_workers(life, workforce, desk, folder))


def _port_of(opened: socket) -> int:
    return int(opened.getsockname()[1])

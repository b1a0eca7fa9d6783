"""The HTTP side behind a front-end worker: both are real, in one process, and so are the sockets between them."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server.api.app import build_app
from server.api.doors import doors
from server.domain.clock import SystemClock
from server.domain.model import StepDigest
from server.engines.triton.borrowed import Whereabouts
from server.lifespan.process import http_server
from server.settings import Settings
from server.workers.channel import Channel
from server.workers.front.app import FrontApp
from server.workers.front.assembly import Assembly
from server.workers.front.held import HeldLeases
from server.workers.front.relay import Relay
from server.workers.front.tally import Tally
from server.workers.front.worker import TICK_S, Worker
from server.workers.home.assembly import finder, listen_to
from server.workers.home.desk import Desk
from server.workers.home.lent_out import Patience
from server.workers.home.uses_log import UsesLog
from tests.contract.http_fakes import FakeServer, Wiring
from tests.contract.http_server import serving


class Borrowed:
    """The worker's engine: the home's, without its loads."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.infer = engine.infer
        self.stream = engine.stream
        self.predict = self.load = self.unload = None

    def learn(self, step: Any, at: Whereabouts) -> None:
        assert at.model == step.digest

    def forget(self, digest: StepDigest) -> None:
        pass

    def close(self) -> None:
        pass


class Behind:
    """An ASGI app: a worker and, for as long as it runs, a home process behind it."""

    def __init__(self, wiring: Wiring, path: Path) -> None:
        self.wiring = wiring
        self.path = str(path)
        clock = SystemClock()
        parts = wiring.parts
        self.desk = Desk(
            wiring.residency.lending,
            finder(parts.addresses, doors(clock, wiring.inference_type)),
            lambda digest: Whereabouts(1, digest, "cpu", {}),
            UsesLog(wiring.metrics, None, None),
            clock,
            valid_s=0.5,
            patience=Patience(),
        )
        listen_to(self.desk, wiring.residency.lending, wiring.registered)
        settings = Settings(
            workers=2,
            engine="triton",
            max_body=wiring.max_body_bytes,
            inference_type=wiring.inference_type,
            request_timeout_s=wiring.timeout_s,
        )
        self.relay = Relay(self.path, clock)
        tally = Tally(clock, notes_arrivals=False)
        self.assembly = Assembly(settings, Borrowed(wiring.engine), self.relay, tally, clock)
        self.held = HeldLeases(idle_s=5.0)
        self.worker: Worker | None = None
        self._tally, self._clock = tally, clock
        self.app = FrontApp(
            self.held,
            self.relay,
            self.assembly.general(),
            clock,
            self.wants,
            self.returned,
            settings.max_body,
        )
        self.short_way = self.app
        self._tasks: list[asyncio.Task[None]] = []

    async def __call__(self, scope, receive, send):
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return
        await receive()
        await self.begin()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.end()
        await send({"type": "lifespan.shutdown.complete"})

    def wants(self, address):
        self.worker.wants(address)

    def returned(self, held):
        self.worker.returned(held)

    async def begin(self):
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(self.path)
        opened.listen(100)
        self.home = http_server(build_app(self.wiring.parts))
        ours, theirs = socket.socketpair()
        self.home_end, self.worker_end = await Channel.over(ours), await Channel.over(theirs)
        self.worker = Worker(self.worker_end, self.held, self._tally, self.assembly, self._clock)
        self.counter = self.desk.open(self.home_end, pid=1)
        work = self.home.serve(sockets=[opened]), self.hear_home(), self.hear_worker(), self.tick()
        self._tasks = [asyncio.create_task(each) for each in work]

    async def end(self):
        self.home.should_exit = True
        await self._tasks[0]
        for task in self._tasks[1:]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.home_end.close()
        self.worker_end.close()
        self.relay.close()
        self.desk.close(self.counter)

    async def hear_home(self):
        async for word in self.home_end:
            self.desk.hear(self.counter, word)

    async def hear_worker(self):
        async for word in self.worker_end:
            self.worker.hear(word)

    async def tick(self):
        while True:
            await asyncio.sleep(TICK_S / 10)
            self.worker.tick()
            self.desk.tick()


@contextmanager
def worker_server(wiring: Wiring, folder: Path) -> Iterator[tuple[FakeServer, Behind]]:
    """Run the wiring behind a worker. Its `RunningServer` is the worker's."""
    behind = Behind(wiring, folder / "home")
    with serving(behind) as server:
        try:
            yield FakeServer(server, wiring), behind
        finally:
            server.on_loop(wiring.engine.slow_open.set)
            server.on_loop(wiring.engine.loads_open.set)
            server.submit(drained(behind)).result(10)
            server.submit(wiring.residency.close()).result(10)


async def drained(behind: Behind) -> None:
    """Wait until the worker has given everything back."""
    behind.desk.drain()
    await asyncio.wait_for(behind.desk.has_all.wait(), 5)

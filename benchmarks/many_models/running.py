"""One run: a fresh server with an empty cache, the trace in an open loop, every answer checked, memory watched."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleet.archives import Fleet
from benchmarks.fleet.bucket import CREDENTIALS, Bucket
from benchmarks.load.open_loop import Answered, Client, Reply, put
from benchmarks.load.processes import Started, started
from benchmarks.many_models.asking import Schedule, Verdicts, invocation, requests, text_body
from benchmarks.many_models.metrics import Page, read
from benchmarks.many_models.watching import Sample, process_bytes, watch

WARM_UP: Final = 12
"""So many archives (of a small fleet a quarter) are loaded, asked and unloaded before memory is watched: then what is
set up once is there."""
CROWD_SHARE: Final = 0.1
"""Of the plan's requests, so many are asked at once before memory is watched, about as many as wait at its peaks: what
connections and waiting requests take is nobody's model, and Python keeps most of it for the next ones."""
SAMPLE_S: Final = 0.2
SETTLED_S: Final = 10.0
"""A process that takes no less for so long holds what it needs: a server gives back within that what it unloaded."""
SETTLED_BYTES: Final = 256 << 10
"""Less than that is no giving back."""
_SHOWN: Final = 3


@dataclass(slots=True)
class Run:
    """What came of a run. Arrays have one value per request."""

    latency_s: NDArray[np.float64]
    done_s: NDArray[np.float64]
    late_s: NDArray[np.float64]
    """How long after it was due a request was sent: the generator's own lag."""
    is_right: NDArray[np.bool_]
    warmth: NDArray[np.str_]
    problems: Counter[str] = field(default_factory=Counter)
    """By status or kind."""
    shown: list[str] = field(default_factory=list)
    """The first few of each kind, in full."""
    samples: list[Sample] = field(default_factory=list)
    baseline_bytes: int = 0
    """The process with nothing resident, once it has served a crowd."""
    counted: Page = field(default_factory=lambda: Page({}))
    """What the server's counters gained."""
    connections: int = 0


def empty(count: int) -> Run:
    """A run of which nothing has happened yet."""
    nothing = np.full(count, np.nan)
    return Run(nothing, nothing.copy(), nothing.copy(), np.zeros(count, bool), np.full(count, "", dtype="U8"))


@asynccontextmanager
async def server(bucket: Bucket, scratch: Path, arguments: tuple[str, ...]) -> AsyncIterator[tuple[Started, Client]]:
    """A Roundhouse on the bucket, with a cache of its own that is deleted in the end."""
    with tempfile.TemporaryDirectory(prefix="cache-", dir=scratch, ignore_cleanup_errors=True) as cache:
        chosen = ("--s3-endpoint-url", bucket.endpoint, "--engine", "embedded", "--cache-dir", cache)
        log = scratch / "server.log"
        with started(bucket.url, *chosen, "--log-level", "warning", *arguments, log=log, environ=CREDENTIALS) as up:
            client = Client("127.0.0.1", up.port)
            try:
                yield up, client
            finally:
                client.close()
                await asyncio.sleep(0)


async def run(
    bucket: Bucket,
    scratch: Path,
    fleet: Fleet,
    plan: Schedule,
    arguments: tuple[str, ...],
    timeout_s: float,
    progress: Callable[[int, int], None] = lambda _done, _wrong: None,
) -> Run:
    """Serve the plan once. `progress` hears how many were answered, and how many of them wrongly."""
    result = empty(len(plan))
    verdicts = Verdicts(fleet, plan)
    counts = Counter[str]()

    def heard(answered: Answered) -> None:
        counts["answered"] += 1
        _note(result, answered, verdicts.problem(answered))
        progress(counts["answered"], int(result.problems.total()))

    async with server(bucket, scratch, arguments) as (up, client):
        await warm_up(client, fleet, timeout_s, crowd=int(len(plan) * CROWD_SHARE))
        before = await scrape(client)
        quiet_s = min(SETTLED_S, plan.seconds / 10)  # a run of seconds is for no figures of memory
        result.baseline_bytes = await settled(lambda: process_bytes(up.pid), quiet_s)
        sent = requests(fleet, plan)

        def request(index: int) -> bytes:
            counts["sent"] += 1
            return sent(index)

        eyes = Client(client.host, client.port)  # its own connection: looking never waits for a request
        watching = asyncio.create_task(
            watch(eyes, up.pid, SAMPLE_S, lambda: counts["sent"] - counts["answered"], result.samples.append)
        )
        try:
            await put(client, plan.due.tolist(), request, heard, timeout_s)
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            eyes.close()
        result.counted = (await scrape(client)).since(before)
        result.connections = client.opened
    return result


async def warm_up(client: Client, fleet: Fleet, timeout_s: float, crowd: int = 0) -> None:
    """Load, ask and unload a few archives, spread over the bases; in between ask them `crowd` times, all at once.

    Raises:
        RuntimeError: one cannot be asked.
    """
    count = max(1, min(WARM_UP, len(fleet.members) // 4))
    chosen = fleet.members[:: len(fleet.members) // count][:count]
    for member in chosen:
        for _ in range(2):
            await asked(client, member.name, text_body(fleet, 0), timeout_s)
    body = text_body(fleet, 0)
    await asyncio.gather(*(asked(client, chosen[i % len(chosen)].name, body, timeout_s) for i in range(crowd)))
    for member in chosen:
        await unload(client, member.name, timeout_s)


async def settled(
    taken: Callable[[], int],
    enough_s: float = SETTLED_S,
    most_s: float = 60.0,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> int:
    """What an idle process takes once it gives nothing back any more, in bytes; asks each second, for `most_s` at most.

    `enough_s`: so long it has to take no less. It is the last look, not the least: what is there when the load begins.
    """
    last = low = taken()
    quiet_s = waited_s = 0.0
    while quiet_s < enough_s and waited_s < most_s:
        await pause(1.0)
        last, waited_s, quiet_s = taken(), waited_s + 1.0, quiet_s + 1.0
        if last < low - SETTLED_BYTES:
            low, quiet_s = last, 0.0
    return last


async def asked(client: Client, name: str, body: bytes, timeout_s: float) -> Reply:
    """One request outside the measurement. Raises RuntimeError where it is not answered as it should be."""
    reply = await client.ask(invocation(name, body), timeout_s)
    if reply.status != 200:
        raise RuntimeError(f"{name} was answered {reply.status}: {reply.body[:500].decode(errors='replace')}")
    return reply


async def unload(client: Client, name: str, timeout_s: float) -> None:
    """Free an archive's memory."""
    request = f"POST /admin/unload/{name} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    await client.ask(request.encode(), timeout_s)


async def scrape(client: Client) -> Page:
    """The metrics page."""
    return read((await client.get("/metrics", 60.0)).body.decode())


def _note(result: Run, answered: Answered, problem: str) -> None:
    index = answered.index
    result.latency_s[index] = answered.latency_s
    result.done_s[index] = answered.done_s
    result.late_s[index] = answered.sent_s - answered.due_s
    result.warmth[index] = answered.reply.header(b"x-roundhouse-warmth").decode()
    result.is_right[index] = not problem
    if problem:
        kind = problem.split(":", 1)[0]
        result.problems[kind] += 1
        if result.problems[kind] <= _SHOWN:
            result.shown.append(problem)

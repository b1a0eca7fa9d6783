"""A closed loop over HTTP/1.1: N connections, each sends its next request when the last one is answered.

Written on bare sockets, since on a small host the generator shares the server's cores: every microsecond it takes is
missing from what is measured. Run it in a process of its own (`python -m benchmarks.load.closed_loop`).
"""

import asyncio
import base64
import json
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from time import perf_counter
from typing import Literal, cast

import uvloop


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: prebuilt request bodies, sent in turn by `concurrency` connections for `seconds`."""

    host: str
    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]
    concurrency: int
    seconds: float
    encoding: Literal["utf-8", "base64"] = "utf-8"
    """How `bodies` stand here: texts as they are, or any bytes in base64."""
    pid: int | None = None
    """The server's process, if its CPU time (with its children's) shall be told."""

    def raw_bodies(self) -> list[bytes]:
        """As they are sent."""
        return [base64.b64decode(body) if self.encoding == "base64" else body.encode() for body in self.bodies]

    def requests(self) -> list[bytes]:
        """Complete HTTP/1.1 requests, one per body."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        first = f"POST {self.path} HTTP/1.1\r\nhost: {self.host}\r\n{head}"
        return [f"{first}content-length: {len(body)}\r\n\r\n".encode() + body for body in self.raw_bodies()]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back. Latencies in milliseconds; `failed` counts answers that were not 200."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    mean_ms: float
    requests: int
    failed: int
    server_cpu_s: float | None = None
    """What the server's processes used meanwhile; None where `Load.pid` does not name one."""


class _Connection(asyncio.Protocol):
    """One keep-alive connection. Answers are framed by Content-Length, which every server under test sends."""

    def __init__(self, requests: Sequence[bytes], first: int, until: float) -> None:
        self.requests, self.next, self.until = requests, first, until
        self.latencies: list[float] = []
        self.failed = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.missing = -1
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)  # uvloop's transports are no subclasses
        self._send()

    def _send(self) -> None:
        self.sent = perf_counter()
        self.transport.write(self.requests[self.next % len(self.requests)])
        self.next += 1

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].lower()
            if not head.startswith(b"http/1.1 200"):
                self.failed += 1
            at = head.index(b"\r\ncontent-length:")  # others end alike: inference-header-content-length
            length = int(head[at + 17 :].split(b"\r\n", 1)[0])
            self.missing = length - (len(self.buffer) - end - 4)
        else:
            self.missing -= len(data)
        if self.missing == 0:
            now = perf_counter()
            self.latencies.append(now - self.sent)
            self.buffer, self.missing = b"", -1
            if now < self.until:
                self._send()
            else:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)
        if exc is not None:
            self.failed += 1


async def _run(load: Load) -> Outcome:
    requests = load.requests()
    loop = asyncio.get_running_loop()
    begin = perf_counter()
    until = begin + load.seconds
    made = [
        await loop.create_connection(lambda i=i: _Connection(requests, i * 7, until), load.host, load.port)  # type: ignore[misc]
        for i in range(load.concurrency)
    ]
    connections = [protocol for _, protocol in made]
    await asyncio.wait_for(asyncio.gather(*(connection.done for connection in connections)), load.seconds + 60)
    elapsed = perf_counter() - begin
    latencies = [latency for connection in connections for latency in connection.latencies]
    return outcome(latencies, elapsed, sum(connection.failed for connection in connections))


def outcome(latencies_s: Sequence[float], elapsed_s: float, failed: int = 0) -> Outcome:
    """The figures of answers that took `latencies_s`, in any order.

    Raises:
        ValueError: there was no answer at all.
    """
    if not latencies_s:
        raise ValueError("nothing was answered")
    return outcome_of(Counter(latencies_s).items(), elapsed_s, failed, unit_s=1.0)


def outcome_of(
    counts: Iterable[tuple[float, int]],
    elapsed_s: float,
    failed: int = 0,
    server_cpu_s: float | None = None,
    *,
    unit_s: float = 1e-6,
) -> Outcome:
    """The figures of latencies in `unit_s` with how many answers each had; there is at least one."""
    ordered = sorted(counts)
    upto = list(accumulate(count for _, count in ordered))
    total, unit_ms = upto[-1], unit_s * 1e3

    def at(share: float) -> float:
        return round(ordered[bisect_right(upto, min(int(total * share), total - 1))][0] * unit_ms, 3)

    return Outcome(
        requests_per_s=round(total / elapsed_s, 1),
        p50_ms=at(0.5),
        p99_ms=at(0.99),
        mean_ms=round(sum(each * count for each, count in ordered) / total * unit_ms, 3),
        requests=total,
        failed=failed,
        server_cpu_s=server_cpu_s,
    )


def main() -> None:
    """Read a load from the file named on the command line, print the outcome as JSON."""
    load = Load(**json.loads(Path(sys.argv[1]).read_text()))
    print(json.dumps(asdict(uvloop.run(_run(load)))))


if __name__ == "__main__":
    main()

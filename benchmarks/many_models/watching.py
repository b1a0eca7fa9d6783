"""Looks at the server while it works: what its ledger says, and what its process takes."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import psutil

from benchmarks.load.open_loop import Client

_REST: Final = 5.0
"""Between two looks there are so many times as long as the first one took."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. Bytes, and seconds from the start of the load."""

    at_s: float
    process: int
    """Resident memory of the server's process and its children."""
    charged: int
    low: int
    """The least that the ledger can account for: what is charged, less what is on its way in or out."""
    high: int
    """The most: what is charged, and what a load holds for a moment above it."""
    drift: int | None
    """What the server itself measured above its charge when it last looked; `None` where it does not look."""
    held: int | None
    """What its engine took then, in all."""
    residents: int
    waiting: int
    in_flight: int


def process_bytes(pid: int) -> int:
    """Resident bytes of a process and its children; what ended in between counts nothing."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for each in family:
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


async def residency(client: Client) -> dict[str, Any]:
    """What /admin/residency says. Raises RuntimeError where it does not answer."""
    reply = await client.get("/admin/residency")
    if reply.status != 200:
        raise RuntimeError(f"/admin/residency answered {reply.status}")
    told: dict[str, Any] = json.loads(reply.body)
    return told


async def look(client: Client, pid: int, at_s: float, in_flight: int) -> Sample:
    """One sample: memory is read at once after the ledger was told."""
    told = await residency(client)
    process = process_bytes(pid)
    device = told["devices"].get("cpu", {})
    charged = int(device.get("charged_bytes", 0))
    return Sample(
        at_s=at_s,
        process=process,
        charged=charged,
        low=charged - int(device.get("in_transit_bytes", 0)),
        high=charged + int(device.get("loading_bytes", 0)),
        drift=device.get("drift_bytes"),
        held=device["observed_bytes"] + device["overhead_bytes"] if "observed_bytes" in device else None,
        residents=len(told["residents"]),
        waiting=sum(int(each["waiters"]) for each in told["waiting"]),
        in_flight=in_flight,
    )


async def watch(
    client: Client, pid: int, every_s: float, in_flight: Callable[[], int], seen: Callable[[Sample], None]
) -> None:
    """Look every so often, until cancelled; less often where a look takes long, so that looking is no load itself."""
    begin = perf_counter()
    while True:
        at = perf_counter()
        seen(await look(client, pid, at - begin, in_flight()))
        took = perf_counter() - at
        await asyncio.sleep(max(every_s - took, _REST * took))

"""Many clients at once on many archives, with an observer that compares the ledger with the process all the while."""

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from server.domain.clock import SystemClock
from tests.integration.live_server import LiveServer
from tests.integration.residency.asking import Client, charged_bytes, least_bytes, most_bytes
from tests.integration.residency.linear_archives import expected, inputs_of
from tests.integration.residency.process_memory import ProcessMemory, memory_of
from tests.integration.until import until

CLIENTS = 16
LOOK_EVERY_S = 0.1
ENOUGH = 10
"""Drifts to judge by."""


@dataclass(frozen=True, slots=True)
class Look:
    """One moment. Bytes; `grown` is what the process holds beyond its start.

    The ledger was read before and after the process was measured: `charged` and `most` (with what loads hold in
    passing) are the larger, `least` (without what is on its way) the smaller figures.
    """

    charged: int
    most: int
    least: int
    grown: int

    @property
    def nearest(self) -> float:
        """The process by what the ledger says, which is a range while something is on its way: by its nearer end."""
        return self.grown / min(max(self.grown, self.least), self.most)


@dataclass(slots=True)
class Storm:
    """What happened."""

    took_s: float = 0.0
    faults: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    warmths: list[str] = field(default_factory=list)
    load_ms: list[float] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    evictions: dict[tuple[float, str], Any] = field(default_factory=dict)
    drifts: list[float] = field(default_factory=list)
    """What the server measured at quiet moments, and was not charged, by what was charged; once for each look at it."""

    @property
    def figures(self) -> str:
        """For people."""
        p50, p99 = np.percentile(self.latencies_s, [50, 99]) * 1e3
        cold = sum(warmth != "resident" for warmth in self.warmths)
        peak_charged = max(look.charged for look in self.looks) / 1e6
        near = [look.nearest for look in self.settled]
        peak_grown = max(look.grown for look in self.looks) / 1e6
        return (
            f"{len(self.latencies_s)} requests in {self.took_s:.1f} s: {len(self.latencies_s) / self.took_s:.0f}/s, "
            f"p50 {p50:.1f} ms, p99 {p99:.0f} ms; {cold} waited for a load (median {np.median(self.load_ms):.0f} ms); "
            f"{len(self.evictions)} evictions seen; {len(self.looks)} looks: ledger at most {peak_charged:.1f} MB, "
            f"process at most {peak_grown:.1f} MB, process/ledger median {self.median_ratio:.3f}, "
            f"by the nearer end of the ledger's range {min(near):.3f} to {max(near):.3f}, "
            f"within 15 % of charge and loading together at {self.share_near_most:.0%} of the looks"
        )

    @property
    def median_ratio(self) -> float:
        """Growth of the process by what the ledger charges, in the median of the moments after the first second."""
        return float(np.median([look.grown / look.charged for look in self.settled]))

    @property
    def share_near_most(self) -> float:
        """How often the process is within 15 % of the charge together with what loads hold in passing."""
        return float(np.mean([abs(look.grown / look.most - 1) <= 0.15 for look in self.settled]))

    @property
    def settled(self) -> list[Look]:
        """The moments after the budget was filled for the first time."""
        full = 0.8 * max(look.charged for look in self.looks)
        return list(itertools.dropwhile(lambda look: look.charged < full, self.looks))


def archive_name(index: int) -> str:
    """The name of the archive with this seed."""
    return f"a{index:02}"


def drifts_in(residency: Any) -> list[float]:
    """The drift that the server saw last, as a share of what is charged; nothing where little was in memory."""
    cpu = residency["devices"].get("cpu", {})
    is_full = cpu.get("expected_bytes", 0) > 0.7 * cpu.get("budget_bytes", 0) > 0
    return [cpu["drift_bytes"] / cpu["expected_bytes"]] if is_full else []


def storm(server: LiveServer, mix: Sequence[int], start: ProcessMemory) -> Storm:
    """Ask for the archives of `mix`, sixteen at a time; every answer is checked against its own archive's numbers."""
    found, clock, is_over = Storm(), SystemClock(), threading.Event()

    def ask_every_sixteenth(first: int) -> None:
        with Client(server) as client:
            for number in range(first, len(mix), CLIENTS):
                archive, inputs = int(mix[number]), inputs_of(number)
                began = clock.now()
                reply = client.infer(archive_name(archive), inputs)
                found.latencies_s.append(clock.now() - began)
                if reply.status != 200:
                    found.faults.append(f"request {number}, archive {archive}: {reply.status} {reply.body[:300]!r}")
                    continue
                if not np.allclose(reply.output, expected(inputs, archive), rtol=1e-4, atol=1e-4):
                    found.faults.append(f"request {number} was not answered by archive {archive}: {reply.output}")
                found.warmths.append(reply.warmth)
                if reply.warmth != "resident":
                    found.load_ms.append(reply.load_ms)

    def watch() -> None:
        with Client(server) as client:
            while not is_over.wait(LOOK_EVERY_S):
                before, grown, after = client.residency(), memory_of(server.pid).grown_since(start), client.residency()
                charged = max(charged_bytes(before), charged_bytes(after))
                most, least = max(map(most_bytes, (before, after))), min(map(least_bytes, (before, after)))
                found.looks.append(Look(charged, most, least, grown))
                found.drifts += drifts_in(after)
                found.evictions.update({(each["at"], each["archive"]): each for each in after["evictions"]})

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        watching = pool.submit(watch)
        began = clock.now()
        try:
            list(pool.map(ask_every_sixteenth, range(CLIENTS)))
        finally:
            found.took_s = clock.now() - began
            is_over.set()
        watching.result()
    with Client(server) as client:  # a quick storm has few quiet moments: the one that follows it counts, too
        until(lambda: found.drifts.extend(drifts_in(client.residency())) or len(found.drifts) > ENOUGH, what="drifts")
    return found

"""One run: a server is set up, harmed under load, made whole again, emptied, stopped; and inspected all along."""

import random
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from benchmarks.chaos.aftermath import Inspection, empty, leavings, recovered
from benchmarks.chaos.archives import Archive, fleet
from benchmarks.chaos.clients import Client
from benchmarks.chaos.conductor import Conductor
from benchmarks.chaos.fault_proxy import FaultProxy, fault_proxy
from benchmarks.chaos.server import Server, serving
from benchmarks.chaos.small_disk import small_disk
from benchmarks.chaos.store import BUCKET, PREFIX, s3_bucket
from benchmarks.chaos.truth import Truth

CLIENTS: Final = 6
GRACE_S: Final = 15.0
"""For the store to be looked at again, for a store that is given a rest, and for a load after that."""
DISK_MB: Final = 96
QUOTA: Final = "20MiB"
"""Nearly all of the content; new versions beside old ones do not fit without others leaving the disk."""
BUDGETS: Final = {"embedded": "64MiB", "triton": "900MiB"}
"""Less than all archives take, so that they come and go; more than any of them."""
JOIN_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `seconds`: for how long it is harmed."""

    engine: str
    seconds: float
    seed: int


def run(plan: Plan, heard: Callable[[str, Truth], None]) -> dict[str, Any]:
    """Carry the plan out; returns the verdict, ready for JSON. `heard` is told of every harm as it comes."""
    archives, truth = fleet(5, 4, 2), Truth(GRACE_S)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roundhouse-chaos-")))
        disk = stack.enter_context(small_disk(folder / "disk", DISK_MB))
        bucket = stack.enter_context(s3_bucket())
        proxy = stack.enter_context(fault_proxy(bucket.port, random.Random(f"{plan.seed} proxy")))
        cache = (disk or folder) / "cache"
        server = stack.enter_context(serving(folder, cache, _flags(plan.engine, proxy)))
        conductor = Conductor(server, bucket, proxy, archives, truth, random.Random(f"{plan.seed} conductor"), disk)
        conductor.put_all()
        inspection = Inspection()
        with _Load(plan, server, archives, truth):
            conductor.act_until(perf_counter() + plan.seconds, lambda what: heard(what, truth))
            heard("made good again", truth)
            recovered(inspection, server, conductor, archives)
        empty(inspection, server)
        leavings(inspection, server)
        return {
            "engine": plan.engine,
            "seed": plan.seed,
            "seconds": round(plan.seconds),
            "passed": not truth.wrong_count and not inspection.problems,
            "requests": sum(truth.outcomes.values()),
            "statuses": dict(sorted(truth.outcomes.items())),
            "failures_explained_by": dict(truth.explained.most_common()),
            "harm": dict(conductor.did.most_common()),
            "s3": {"passed": proxy.counts.passed, "harmed": proxy.counts.harmed},
            "disk": f"tmpfs of {DISK_MB} MB, filled; quota {QUOTA}" if disk else f"quota {QUOTA}",
            "wrong": {"count": truth.wrong_count, "first": truth.wrongs},
            "checks": inspection.checks,
            "problems": inspection.problems,
        }


def _flags(engine: str, proxy: FaultProxy) -> Sequence[str]:
    return (
        *("--engine", engine, "--store", f"s3://{BUCKET}/{PREFIX}"),
        *("--s3-endpoint-url", f"http://127.0.0.1:{proxy.port}"),
        *("--memory-budget", BUDGETS[engine], "--disk-quota", QUOTA),
        *("--refresh-s", "1", "--load-timeout-s", "25", "--request-timeout-s", "40"),
        *("--churn-guard-s", "1", "--failure-ttl-s", "5"),
    )


class _Load:
    """Clients that ask for as long as the block lasts."""

    def __init__(self, plan: Plan, server: Server, archives: Sequence[Archive], truth: Truth) -> None:
        self._is_over = threading.Event()
        self._clients = [
            Client(server.port, archives, truth, f"{plan.seed} client {index}", self._is_over)
            for index in range(CLIENTS)
        ]

    def __enter__(self) -> None:
        for client in self._clients:
            client.start()

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for client in self._clients:
            client.join(JOIN_S)
            if client.is_alive():
                raise RuntimeError(f"{client.name} still waits for an answer after {JOIN_S:g} s")

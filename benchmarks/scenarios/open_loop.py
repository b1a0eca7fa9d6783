"""How long do answers take when requests come at their own times, at a share of what the server can do?

Real MiniLM in FP32, sentences of 8 to 64 tokens, Poisson arrivals at 30 to 90 % of what a closed loop of 64 reached in
the same round. Latency counts from when a request was due, so that neither server nor generator can hide that it fell
behind (no coordinated omission); `sent_late_p99_ms` is how late the generator itself was.
"""

import random
import tempfile
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import uvloop

from benchmarks.load.closed_loop import Load, outcome
from benchmarks.load.open_loop import Answered, Client, put
from benchmarks.load.processes import put as put_closed
from benchmarks.load.processes import serving
from benchmarks.payloads import ARCHIVES, JSON, archive_file
from benchmarks.suite.figures import over_rounds
from benchmarks.suite.pace import Pace
from benchmarks.workloads import sentence_bodies, sentences

ARCHIVE: Final = "minilm.tar.gz"
SHARES: Final = (0.3, 0.5, 0.7, 0.9)
_TIMEOUT_S: Final = 60.0


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result. Raises RuntimeError where an answer was not 200."""
    archive_file(ARCHIVE)
    closed: list[dict[str, float]] = []
    rows: dict[float, list[dict[str, float]]] = {share: [] for share in SHARES}
    with tempfile.TemporaryDirectory() as cache, serving(ARCHIVES, "--cache-dir", cache, "--preload", ARCHIVE) as port:
        headers = {**JSON, "x-amzn-sagemaker-target-model": ARCHIVE}
        load = Load("127.0.0.1", port, "/invocations", headers, sentence_bodies(sentences()), 64, pace.seconds(4, 1.5))
        for index in pace.rounds():
            rate = put_closed(load).requests_per_s
            closed.append({"requests_per_s": rate})
            for share in SHARES:
                rows[share].append(_opened(load, arrivals(rate * share, pace.seconds(8, 2.5), seed=index)))
    return {
        "rounds": pace.of(3, 2),
        "closed_loop_of_64": over_rounds(closed),
        "arrivals": {f"{share:.0%} of closed": over_rounds(found) for share, found in rows.items()},
    }


def arrivals(rate_per_s: float, seconds: float, seed: int) -> list[float]:
    """When requests are due: independent of each other, on average `rate_per_s`; at least one."""
    choose = random.Random(seed)
    gaps = (choose.expovariate(rate_per_s) for _ in range(max(1, round(rate_per_s * seconds))))
    return list(accumulate(gaps))


def _opened(load: Load, due: Sequence[float]) -> dict[str, float]:
    heard: list[Answered] = []
    requests = load.requests()

    async def run_all() -> None:
        client = Client(load.host, load.port)
        await put(client, due, lambda index: requests[index % len(requests)], heard.append, _TIMEOUT_S)
        client.close()

    uvloop.run(run_all())
    if bad := sum(each.reply.status != 200 for each in heard):
        raise RuntimeError(f"{bad} of {len(heard)} requests failed")
    late = sorted(each.sent_s - each.due_s for each in heard)
    told = outcome([each.latency_s for each in heard], max(each.done_s for each in heard))
    return {
        "offered_per_s": round(len(due) / due[-1], 1),
        "requests_per_s": told.requests_per_s,
        "p50_ms": told.p50_ms,
        "p99_ms": told.p99_ms,
        "sent_late_p99_ms": round(late[int(len(late) * 0.99)] * 1e3, 3),
    }

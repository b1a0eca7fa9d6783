"""MLPerf's LoadGen over HTTP: it decides when which sample is sent and judges the run; here the samples are carried.

Run it in a process of its own (`python -m benchmarks.load.loadgen ORDER.json`), as the closed loop; prints what its
summary says, in milliseconds and samples per second. Needs the extra `bench`.
"""

import json
import re
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import uvloop

from benchmarks.load.closed_loop import Load
from benchmarks.load.open_loop import Client

SAMPLES_PER_QUERY: Final = 8
"""Of MultiStream, as MLPerf has it."""
_TIMEOUT_S: Final = 120.0
_TAKEN: Final = re.compile(r"^\s*([^:\n]+?)\s*:\s*([-+0-9.e]+)\s*$", re.MULTILINE)
_RATES: Final = ("Completed samples per second", "Samples per second", "QPS w/ loadgen overhead")
"""What its scenarios call the rate; MultiStream tells none."""

Scenario = Literal["SingleStream", "MultiStream", "Server", "Offline"]


class LoadGenMissing(RuntimeError):
    """LoadGen is not installed. The message names the extra."""


@dataclass(frozen=True, slots=True)
class Order:
    """One run. `load.seconds` is LoadGen's minimal duration, `load.concurrency` the most connections at once."""

    load: Load
    scenario: Scenario
    min_queries: int = 64
    target_per_s: float = 100.0
    """Server: the rate of arrivals. Offline: what is expected, by which LoadGen sizes its one query."""
    target_latency_ms: float = 100.0
    """Server: the bound for the 99th percentile."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """LoadGen's summary. `is_valid` counts its rules for short runs too (early stopping), `why` those not kept."""

    figures: Mapping[str, float]
    is_valid: bool
    why: Sequence[str]


def check(find: Callable[[str], object | None] = find_spec) -> None:
    """Raises LoadGenMissing where LoadGen is not installed."""
    if find("mlperf_loadgen") is None:
        raise LoadGenMissing("MLPerf's LoadGen is not installed: pip install -e '.[bench]'")


def verdict_in(summary: str) -> Verdict:
    """What the text of `mlperf_log_summary.txt` says.

    Raises:
        ValueError: it has no result.
    """
    result = re.search(r"Result is\s*:\s*(\w+)", summary)
    if result is None:
        raise ValueError(f"LoadGen's summary has no result: {summary[:300]}")
    found = {name: float(value) for name, value in _TAKEN.findall(summary)}
    rates = [found[name] for name in _RATES if name in found]
    figures = {"samples_per_s": rates[0]} if rates else {}
    figures |= {
        f"p{share}_ms": round(found[name] / 1e6, 3)
        for share in (50, 90, 99)
        if (name := f"{share}.00 percentile latency (ns)") in found
    }
    why = re.findall(r"^\s*([A-Z][a-z ]+?) satisfied\s*:\s*NO", summary, re.IGNORECASE | re.MULTILINE)
    return Verdict(figures, result[1] == "VALID", why)


class _Carrier:
    """Sends samples over as many connections as allowed; what LoadGen calls, and what tells it of answers."""

    def __init__(self, load: Load, loadgen: Any) -> None:
        self._loadgen = loadgen
        self._requests = load.requests()
        self._client = Client(load.host, load.port)
        self._idle = load.concurrency
        self._waiting: deque[tuple[int, int]] = deque()
        self._running: set[Any] = set()
        self.failed = 0
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def issue(self, samples: Sequence[Any]) -> None:
        """LoadGen's query: any number of samples, answered one by one."""
        told = [(sample.id, sample.index) for sample in samples]
        self._loop.call_soon_threadsafe(self._take, told)

    def flush(self) -> None:
        """LoadGen has no more; nothing is held back here."""

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _take(self, told: Sequence[tuple[int, int]]) -> None:
        self._waiting.extend(told)
        while self._idle and self._waiting:
            self._idle -= 1
            task = self._loop.create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _work(self) -> None:
        """Answer what waits, one after the other."""
        while self._waiting:
            sample, index = self._waiting.popleft()
            reply = await self._client.ask(self._requests[index % len(self._requests)], _TIMEOUT_S)
            self.failed += reply.status != 200
            self._loadgen.QuerySamplesComplete([self._loadgen.QuerySampleResponse(sample, 0, 0)])
        self._idle += 1


def run(order: Order) -> tuple[Verdict, int]:
    """Run it in this process; the verdict, and how many answers were not 200.

    Raises:
        LoadGenMissing: LoadGen is not installed.
    """
    check()
    loadgen: Any = import_module("mlperf_loadgen")
    settings, load = loadgen.TestSettings(), order.load
    settings.scenario = getattr(loadgen.TestScenario, order.scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(load.seconds * 1e3)
    settings.min_query_count = order.min_queries
    settings.multi_stream_samples_per_query = SAMPLES_PER_QUERY
    settings.server_target_qps = settings.offline_expected_qps = order.target_per_s
    settings.server_target_latency_ns = round(order.target_latency_ms * 1e6)
    with tempfile.TemporaryDirectory() as folder:
        output, log = loadgen.LogOutputSettings(), loadgen.LogSettings()
        output.outdir = folder
        log.log_output, log.enable_trace = output, False
        carrier = _Carrier(load, loadgen)
        system = loadgen.ConstructSUT(carrier.issue, carrier.flush)
        count = len(load.bodies)
        samples = loadgen.ConstructQSL(count, count, lambda _: None, lambda _: None)
        try:
            loadgen.StartTestWithLogSettings(system, samples, settings, log)
        finally:
            loadgen.DestroyQSL(samples)
            loadgen.DestroySUT(system)
            carrier.close()
        return verdict_in(Path(folder, "mlperf_log_summary.txt").read_text()), carrier.failed


def main() -> None:
    """Read an order from the file named on the command line, print the verdict as JSON."""
    told = json.loads(Path(sys.argv[1]).read_text())
    verdict, failed = run(Order(**{**told, "load": Load(**told["load"])}))
    print(json.dumps({**asdict(verdict), "failed": failed}))


if __name__ == "__main__":
    main()

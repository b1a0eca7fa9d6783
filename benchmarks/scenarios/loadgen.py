"""What does MLPerf's own load generator say of one text model over HTTP, in its four scenarios?

Real MiniLM in FP32, the sentences of the other scenarios, nothing cached. SingleStream: one sample at a time.
MultiStream: queries of eight samples. Server: samples arrive at random times (Poisson), at the highest of a few rates
whose p99 stays below 130 ms. Offline: all samples at once. `valid_rounds` counts the rounds that LoadGen itself judged
VALID; its rules ask for hundreds of queries, so a quick run has few.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.load.closed_loop import Load
from benchmarks.load.loadgen import Order, Scenario, check
from benchmarks.load.processes import put, serving
from benchmarks.payloads import ARCHIVES, JSON, archive_file
from benchmarks.suite.figures import over_rounds
from benchmarks.suite.pace import Pace
from benchmarks.workloads import sentence_bodies, sentences

ARCHIVE: Final = "minilm.tar.gz"
LATENCY_MS: Final = 130.0
"""MLPerf's bound for BERT in the Server scenario."""
SHARES: Final = (0.9, 0.75, 0.6, 0.45, 0.3)
"""Rates tried for Server, of what Offline reached."""
_MOST: Final = 64
_ENOUGH: Final = 664
"""Queries from which LoadGen can judge a 99th percentile."""


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result. Raises LoadGenMissing, RuntimeError."""
    check()
    archive_file(ARCHIVE)
    rounds: dict[str, list[dict[str, float]]] = {}
    judged: dict[str, list[bool]] = {}
    said: dict[str, list[str]] = {}
    flags = ("--preload", ARCHIVE, "--response-cache", "0")
    with tempfile.TemporaryDirectory() as cache, serving(ARCHIVES, "--cache-dir", cache, *flags) as port:
        for _ in pace.rounds():
            for scenario, (row, is_valid, why) in _round(port, pace).items():
                rounds.setdefault(scenario, []).append(row)
                judged.setdefault(scenario, []).append(is_valid)
                said.setdefault(scenario, []).extend(why)
    return {
        "rounds": pace.of(3, 2),
        "scenarios": {name: over_rounds(rows) | {"valid_rounds": sum(judged[name])} for name, rows in rounds.items()},
        "not_kept": {name: sorted(set(why)) for name, why in said.items() if why},
    }


def _round(port: int, pace: Pace) -> dict[str, tuple[dict[str, float], bool, list[str]]]:
    """All four; the rates of Offline and Server follow from a short closed loop before."""
    rate = put(_load(port, pace.seconds(3, 1))).requests_per_s
    brief = pace.seconds(8, 2)
    enough = pace.of(_ENOUGH, 16)
    found = {
        "SingleStream": _run(Order(_load(port, brief), "SingleStream")),
        "MultiStream": _run(Order(_load(port, brief), "MultiStream", min_queries=enough)),
        "Offline": _run(Order(_load(port, brief), "Offline", 1, target_per_s=rate * 1.2)),
    }
    for share in SHARES if not pace.is_quick else SHARES[2:3]:
        target = found["Offline"][0]["samples_per_s"] * share
        order = Order(_load(port, brief), "Server", pace.of(_ENOUGH, 64), target, LATENCY_MS)
        row, is_valid, why = _run(order)
        found["Server"] = ({**row, "target_per_s": round(target, 1)}, is_valid, why)
        if is_valid:
            break
    return found


def _load(port: int, seconds: float) -> Load:
    headers = {**JSON, "x-amzn-sagemaker-target-model": ARCHIVE}
    return Load("127.0.0.1", port, "/invocations", headers, sentence_bodies(sentences()), _MOST, seconds)


def _run(order: Order) -> tuple[dict[str, float], bool, list[str]]:
    scenario: Scenario = order.scenario
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "order.json")
        file.write_text(json.dumps(asdict(order)))
        command = [sys.executable, "-m", "benchmarks.load.loadgen", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"LoadGen's {scenario} failed: {done.stderr.strip()[-500:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    if told["failed"]:
        raise RuntimeError(f"LoadGen's {scenario}: {told['failed']} answers were not 200")
    return told["figures"], told["is_valid"], told["why"]

"""How many small requests per second do 1, 2 and 4 front-end workers pass between clients and one tritonserver?

The model is an identity over 16 floats in Triton, asked for as KServe v2 JSON by 64 clients at once: all the work is in
the front end. Three servers are up side by side, with 1, 2 and 4 workers (docs/workers.md), each with a tritonserver of
its own; each round measures all of them in turn, and ratios are taken within the round. Beside them stands the same
model asked for directly, in the tritonserver of the first. What to expect depends on the cores: clients, tritonserver
and its Python stubs need some too, so on a host with two of them more workers cannot win.
"""

import json
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.baselines.bare_triton import TRITON, SupervisedTriton, supervised_pid
from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import measured, serving
from benchmarks.suite.figures import over_rounds, ratios
from benchmarks.suite.pace import Pace
from benchmarks.workloads import trivial_body, trivial_store

WORKERS: Final = (1, 2, 4)
CONCURRENCY: Final = 64
ARCHIVE: Final = "trivial"
MODEL: Final = "model"
_JSON: Final = {"content-type": "application/json"}


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    result: dict[str, Any] = {
        "rounds": pace.of(3, 2),
        "settings": {"concurrency": CONCURRENCY, "cores": len(os.sched_getaffinity(0))},
    }
    if not TRITON.is_dir():
        return result | {"not_here": {"triton": "no .triton here: make triton"}}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        trivial_store(root / "store")
        ports = {count: stack.enter_context(serving(root / "store", *_flags(root, count))) for count in WORKERS}
        triton = SupervisedTriton(supervised_pid(ports[1]))
        triton.add(root / "store" / ARCHIVE)
        triton.load(MODEL)
        for port in ports.values():  # leases and connections are there before the first round
            measured(_router(port, 1.0))
        direct: list[dict[str, float]] = []
        served: dict[int, list[dict[str, float]]] = {count: [] for count in WORKERS}
        for _ in pace.rounds():
            direct.append(measured(_load(triton.port, f"/v2/models/{MODEL}/infer", _JSON, pace.seconds(4.0, 1.5))))
            for count, port in ports.items():
                served[count].append(measured(_router(port, pace.seconds(4.0, 1.5))))
    one = [row["requests_per_s"] for row in served[1]]
    return result | {
        "direct": over_rounds(direct),
        "workers": {
            str(count): over_rounds(rows)
            | ratios("throughput_vs_one", [row["requests_per_s"] for row in rows], one)
            | ratios(
                "throughput_vs_direct",
                [row["requests_per_s"] for row in rows],
                [row["requests_per_s"] for row in direct],
            )
            for count, rows in served.items()
        },
    }


def _flags(root: Path, workers: int) -> tuple[str, ...]:
    cache = str(root / f"cache-{workers}")
    return "--cache-dir", cache, "--engine", "triton", "--preload", ARCHIVE, "--workers", str(workers)


def _router(port: int, seconds: float) -> Load:
    return _load(port, "/invocations", {**_JSON, "x-amzn-sagemaker-target-model": ARCHIVE}, seconds)


def _load(port: int, path: str, headers: dict[str, str], seconds: float) -> Load:
    body = json.dumps(json.loads(trivial_body()), separators=(",", ":"))
    return Load("127.0.0.1", port, path, headers, [body], CONCURRENCY, seconds)

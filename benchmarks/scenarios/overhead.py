"""What does the router add to a model that costs nothing, against the bare engine and against a bare Triton?

The model is an identity over 16 floats, asked for as KServe v2 JSON. Embedded engine: beside a bare ONNX Runtime
session in a loop. Triton (where `make triton` has been): the same archive through the router, and the same model asked
for directly, in the very tritonserver that the router supervises; that Triton has Python backends only; as JSON, and
as binary tensors, which the router passes on. Each round measures all of it at concurrency 1, 16 and 64, and ratios are
taken within the round.
"""

import base64
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.baselines.bare_triton import TRITON, SupervisedTriton, supervised_pid
from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import baseline, measured, serving
from benchmarks.suite.figures import over_rounds, ratios, spread
from benchmarks.suite.pace import Pace
from benchmarks.workloads import trivial_body, trivial_store

CONCURRENCIES: Final = (1, 16, 64)
ARCHIVE: Final = "trivial"
MODEL: Final = "model"
_JSON: Final = {"content-type": "application/json"}
Rounds = dict[int, list[dict[str, float]]]


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        graph = trivial_store(root / "store")
        result = {"rounds": pace.of(3, 2), "embedded": _embedded(root, graph, pace)}
        if TRITON.is_dir():
            result["triton"] = _triton(root, pace)
        else:
            result["not_here"] = {"triton": "no .triton here: make triton"}
    return result


def _embedded(root: Path, graph: Path, pace: Pace) -> dict[str, Any]:
    bare: list[dict[str, float]] = []
    served = _no_rounds()
    with serving(root / "store", "--cache-dir", str(root / "cache"), "--preload", ARCHIVE) as port:
        for _ in pace.rounds(of="embedded"):
            bare.append(baseline("bare_onnxruntime", "trivial", str(graph)))
            _round(served, lambda each: _router(port, each, pace))
    return {
        "bare": over_rounds(bare),
        "added": spread("p50_ms", [row["p50_ms"] - b["p50_ms"] for row, b in zip(served[1], bare, strict=True)]),
        "served": {
            str(each): over_rounds(rows)
            | ratios("throughput_vs_bare", [row["requests_per_s"] for row in rows], [b["requests_per_s"] for b in bare])
            for each, rows in served.items()
        },
    }


def _triton(root: Path, pace: Pace) -> dict[str, Any]:
    direct, served = _no_rounds(), _no_rounds()
    direct_binary, passed_on = _no_rounds(), _no_rounds()
    flags = ("--cache-dir", str(root / "triton"), "--engine", "triton", "--preload", ARCHIVE)
    with serving(root / "store", *flags) as port:
        triton = SupervisedTriton(supervised_pid(port))
        triton.add(root / "store" / ARCHIVE)
        triton.load(MODEL)
        for _ in pace.rounds(of="triton"):
            _round(direct, lambda each: _load(triton.port, f"/v2/models/{MODEL}/infer", _JSON, each, pace))
            _round(served, lambda each: _router(port, each, pace))
            _round(direct_binary, lambda each: _binary(triton.port, MODEL, each, pace))
            _round(passed_on, lambda each: _binary(port, ARCHIVE, each, pace))
    return {**_beside(direct, served), "binary": _beside(direct_binary, passed_on)}


def _beside(direct: Rounds, served: Rounds) -> dict[str, Any]:
    return {
        "added": spread("p50_ms", [a["p50_ms"] - b["p50_ms"] for a, b in zip(served[1], direct[1], strict=True)]),
        "direct": {str(each): over_rounds(rows) for each, rows in direct.items()},
        "served": {
            str(each): over_rounds(rows)
            | ratios(
                "throughput_vs_direct",
                [row["requests_per_s"] for row in rows],
                [row["requests_per_s"] for row in direct[each]],
            )
            for each, rows in served.items()
        },
    }


def _no_rounds() -> Rounds:
    return {each: [] for each in CONCURRENCIES}


def _round(rows: Rounds, ask: Callable[[int], Load]) -> None:
    for each in CONCURRENCIES:
        rows[each].append(measured(ask(each)))


def _router(port: int, concurrency: int, pace: Pace) -> Load:
    return _load(port, "/invocations", {**_JSON, "x-amzn-sagemaker-target-model": ARCHIVE}, concurrency, pace)


def _load(port: int, path: str, headers: dict[str, str], concurrency: int, pace: Pace) -> Load:
    body = json.dumps(json.loads(trivial_body()), separators=(",", ":"))
    return Load("127.0.0.1", port, path, headers, [body], concurrency, pace.seconds(4.0, 1.5))


def _binary(port: int, model: str, concurrency: int, pace: Pace) -> Load:
    """The same request as a binary tensor, whose answer is one too."""
    tensor = {"name": "INPUT0", "shape": [1, 16], "datatype": "FP32", "parameters": {"binary_data_size": 64}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body = base64.b64encode(head + struct.pack("<16f", *range(16))).decode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    seconds = pace.seconds(4.0, 1.5)
    return Load("127.0.0.1", port, f"/v2/models/{model}/infer", headers, [body], concurrency, seconds, "base64")

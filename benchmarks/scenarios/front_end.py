"""What does the front end add to the engine, in latency and in requests per second?

Two models: a trivial one, where everything but the front end is free, and real MiniLM embeddings. Each is run bare (the
same graph in a loop in one process) and through the server over HTTP, in the same sitting, three rounds; medians.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import put, serving
from benchmarks.workloads import sentence_bodies, sentences, trivial_body, trivial_store

ARCHIVES = Path("model_repository/archives")
CONCURRENCIES = (1, 4, 16, 64)
ROUNDS = 3
SECONDS = 3.0


def run() -> dict[str, Any]:
    """Measure both models; returns a JSON-ready result."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        graph = trivial_store(root / "store")
        trivial = _measure(root / "store", "trivial", [trivial_body()], ["trivial", str(graph)])
        if not (ARCHIVES / "minilm.tar.gz").is_file():
            raise SystemExit("model_repository/archives/minilm.tar.gz is missing: make archives")
        with tarfile.open(ARCHIVES / "minilm.tar.gz") as archive:
            archive.extractall(root / "minilm", filter="data")
        texts = sentences()
        (root / "texts.json").write_text(json.dumps(texts))
        bare = [
            "sentence",
            *(str(root / "minilm" / part) for part in ("encoder/1/model.onnx", "tokenize/1/tokenizer.json")),
        ]
        minilm = _measure(ARCHIVES, "minilm.tar.gz", sentence_bodies(texts), [*bare, str(root / "texts.json")])
    return {"scenario": "front_end", "question": (__doc__ or "").splitlines()[0], "trivial": trivial, "minilm": minilm}


def _measure(store: Path, archive: str, bodies: list[str], bare_arguments: list[str]) -> dict[str, Any]:
    """Alternate bare and served rounds, so that a noisy minute hits both."""
    bare: list[dict[str, float]] = []
    served: dict[int, list[dict[str, Any]]] = {concurrency: [] for concurrency in CONCURRENCIES}
    with tempfile.TemporaryDirectory() as cache, serving(store, "--cache-dir", cache, "--preload", archive) as port:
        headers = {"content-type": "application/json", "x-amzn-sagemaker-target-model": archive}
        for _ in range(ROUNDS):
            command = [sys.executable, "-m", "benchmarks.baselines.bare_onnxruntime", *bare_arguments]
            bare.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            for concurrency in CONCURRENCIES:
                load = Load("127.0.0.1", port, "/invocations", headers, bodies, concurrency, SECONDS)
                outcome = put(load)
                if outcome.failed:
                    raise SystemExit(f"{outcome.failed} of {outcome.requests} requests failed: {load.path} {archive}")
                served[concurrency].append(
                    {"requests_per_s": outcome.requests_per_s, "p50_ms": outcome.p50_ms, "p99_ms": outcome.p99_ms}
                )
    return _summary(bare, served)


def _summary(bare: list[dict[str, float]], served: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    bare_p50 = median(row["p50_ms"] for row in bare)
    bare_rate = median(row["requests_per_s"] for row in bare)
    rows = {}
    for concurrency, rounds in served.items():
        rates = [row["requests_per_s"] for row in rounds]
        rows[str(concurrency)] = {
            "requests_per_s": median(rates),
            "requests_per_s_min_max": [min(rates), max(rates)],
            "p50_ms": median(row["p50_ms"] for row in rounds),
            "p99_ms": median(row["p99_ms"] for row in rounds),
            "throughput_vs_bare": round(median(rates) / bare_rate, 3),
        }
    added = rows["1"]["p50_ms"] - bare_p50
    return {
        "bare": {"p50_ms": bare_p50, "requests_per_s": bare_rate},
        "served": rows,
        "added_p50_ms_at_concurrency_1": round(added, 3),
    }

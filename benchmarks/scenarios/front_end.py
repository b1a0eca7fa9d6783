"""What does the front end add to the engine, in latency and in requests per second?

Two models: a trivial one, where everything but the front end is free, and real MiniLM embeddings. Each is run bare (the
same graph in a loop in one process) and through the server over HTTP, in the same sitting, round by round; medians.
"""

import json
import tarfile
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import baseline, measured, serving
from benchmarks.suite.figures import over_rounds, ratios
from benchmarks.suite.pace import Pace
from benchmarks.workloads import sentence_bodies, sentences, trivial_body, trivial_store

ARCHIVES = Path("model_repository/archives")
CONCURRENCIES = (1, 4, 16, 64)


def run(pace: Pace) -> dict[str, Any]:
    """Measure both models; returns a JSON-ready result."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        graph = trivial_store(root / "store")
        trivial = _measure(root / "store", "trivial", [trivial_body()], ["trivial", str(graph)], pace)
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
        minilm = _measure(ARCHIVES, "minilm.tar.gz", sentence_bodies(texts), [*bare, str(root / "texts.json")], pace)
    return {"rounds": pace.of(3, 2), "trivial": trivial, "minilm": minilm}


def _measure(store: Path, archive: str, bodies: list[str], bare_arguments: list[str], pace: Pace) -> dict[str, Any]:
    """Alternate bare and served rounds, so that a noisy minute hits both."""
    bare: list[dict[str, float]] = []
    served: dict[int, list[dict[str, float]]] = {concurrency: [] for concurrency in CONCURRENCIES}
    with tempfile.TemporaryDirectory() as cache, serving(store, "--cache-dir", cache, "--preload", archive) as port:
        headers = {"content-type": "application/json", "x-amzn-sagemaker-target-model": archive}
        for _ in pace.rounds(of=archive):
            bare.append(baseline("bare_onnxruntime", *bare_arguments))
            for concurrency in CONCURRENCIES:
                seconds = pace.seconds(3.0, 1.5)
                load = Load("127.0.0.1", port, "/invocations", headers, bodies, concurrency, seconds)
                served[concurrency].append(measured(load))
    rates = [row["requests_per_s"] for row in bare]
    added = median(row["p50_ms"] for row in served[1]) - median(row["p50_ms"] for row in bare)
    return {
        "bare": over_rounds(bare),
        "served": {
            str(concurrency): over_rounds(rows)
            | ratios("throughput_vs_bare", [row["requests_per_s"] for row in rows], rates)
            for concurrency, rows in served.items()
        },
        "added_p50_ms_at_concurrency_1": round(added, 3),
    }

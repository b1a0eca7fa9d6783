"""How do throughput and latency percentiles of one text model go with concurrency, for sentences of mixed length?

Real MiniLM in FP32, sentences of 8 to 64 tokens, closed loops of 1, 4, 16 and 64 over HTTP with the load generator on
the same cores. Beside them, in the same round: the bare engine one text at a time with all cores (what a request at
concurrency 1 can be compared with), and the bare limit of throughput (one worker per core, batches of four, sorted
within 64 texts; `baselines/bare_sorted.py`). Medians over the rounds. Where others use the cores too, times mean
little; what still compares is `cpu_vs_bare_limit`, the bare limit's CPU seconds per text over the server's.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import put, started
from benchmarks.workloads import sentence_bodies, sentences

ARCHIVES = Path("model_repository/archives")
ARCHIVE = "minilm.tar.gz"
SECONDS = {1: 3.0, 4: 3.0, 16: 4.0, 64: 8.0}
ROUNDS = 3


@dataclass
class Sitting:
    """A running server and the files of the bare runs."""

    port: int
    server: psutil.Process
    files: list[str]
    """Graph, tokenizer, texts."""
    bodies: list[str]
    alone: list[dict[str, float]] = field(default_factory=list)
    limit: list[dict[str, float]] = field(default_factory=list)
    served: dict[int, list[dict[str, float]]] = field(default_factory=lambda: {each: [] for each in SECONDS})

    def round(self) -> None:
        """Measure everything once, so that a noisy minute hits all of it."""
        self.alone.append(_bare("bare_onnxruntime", "sentence", *self.files))
        self.limit.append(_bare("bare_sorted", *self.files, "5"))
        for concurrency, seconds in SECONDS.items():
            headers = {"content-type": "application/json", "x-amzn-sagemaker-target-model": ARCHIVE}
            used = sum(self.server.cpu_times()[:2])
            outcome = put(Load("127.0.0.1", self.port, "/invocations", headers, self.bodies, concurrency, seconds))
            if outcome.failed:
                raise SystemExit(f"{outcome.failed} of {outcome.requests} requests failed at {concurrency}")
            used = sum(self.server.cpu_times()[:2]) - used
            row = {name: getattr(outcome, name) for name in ("requests_per_s", "p50_ms", "p99_ms")}
            self.served[concurrency].append({**row, "cpu_s_per_1000": round(used / outcome.requests * 1000, 2)})

    def result(self) -> dict[str, Any]:
        """What the rounds say, with ratios taken within each round."""
        rows = {}
        for concurrency, outcomes in self.served.items():
            rates = [row["requests_per_s"] for row in outcomes]
            vs_limit = [rate / bare["texts_per_s"] for rate, bare in zip(rates, self.limit, strict=True)]
            vs_cpu = [
                bare["cpu_s_per_1000"] / row["cpu_s_per_1000"] for row, bare in zip(outcomes, self.limit, strict=True)
            ]
            vs_mean = [row["p99_ms"] * row["requests_per_s"] / 1e3 / concurrency for row in outcomes]
            rows[str(concurrency)] = {
                "requests_per_s": median(rates),
                "requests_per_s_min_max": [min(rates), max(rates)],
                "p50_ms": median(row["p50_ms"] for row in outcomes),
                "p99_ms": median(row["p99_ms"] for row in outcomes),
                "server_cpu_s_per_1000": median(row["cpu_s_per_1000"] for row in outcomes),
                "throughput_vs_bare_limit": round(median(vs_limit), 3),
                "throughput_vs_bare_limit_min_max": [round(min(vs_limit), 3), round(max(vs_limit), 3)],
                "cpu_vs_bare_limit": round(median(vs_cpu), 3),
                "p99_vs_closed_loop_mean": round(median(vs_mean), 3),
            }
        p50s = [row["p50_ms"] / bare["p50_ms"] for row, bare in zip(self.served[1], self.alone, strict=True)]
        return {
            "scenario": "single_model",
            "question": (__doc__ or "").splitlines()[0],
            "rounds": len(self.alone),
            "bare_one_at_a_time": {
                "p50_ms": median(row["p50_ms"] for row in self.alone),
                "requests_per_s": median(row["requests_per_s"] for row in self.alone),
            },
            "bare_limit": {name: median(row[name] for row in self.limit) for name in self.limit[0]},
            "served": rows,
            "p50_vs_bare_at_concurrency_1": round(median(p50s), 3),
            "p50_vs_bare_at_concurrency_1_min_max": [round(min(p50s), 3), round(max(p50s), 3)],
        }


@contextmanager
def sitting(*flags: str) -> Iterator[Sitting]:
    """Unpack, start the server, load the archive."""
    if not (ARCHIVES / ARCHIVE).is_file():
        raise SystemExit(f"{ARCHIVES / ARCHIVE} is missing: make archives")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with tarfile.open(ARCHIVES / ARCHIVE) as archive:
            archive.extractall(root / "minilm", filter="data")
        texts = sentences()
        (root / "texts.json").write_text(json.dumps(texts))
        parts = ("minilm/encoder/1/model.onnx", "minilm/tokenize/1/tokenizer.json", "texts.json")
        files = [str(root / part) for part in parts]
        with started(str(ARCHIVES), "--cache-dir", str(root / "cache"), "--preload", ARCHIVE, *flags) as server:
            yield Sitting(server.port, psutil.Process(server.pid), files, sentence_bodies(texts))


def run() -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    with sitting() as measured:
        for _ in range(ROUNDS):
            measured.round()
    return measured.result()


def _bare(module: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", f"benchmarks.baselines.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))

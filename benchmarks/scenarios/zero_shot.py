"""How does a zero-shot answer's cost grow with the number of candidate labels, and with callers?

The tiny NLI model (real architecture, random weights) with its tokenizer and pairing; each label is one more sentence
pair for the model. Labels differ between requests, so that nothing can be remembered. Ratios within each round:
`cost_vs_one_label` is the p50 with n labels over the p50 with one; n would mean that nothing is shared or batched.
"""

import json
import random
import tempfile
from typing import Any, Final

from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import measured, serving
from benchmarks.payloads import ARCHIVES, JSON, archive_file
from benchmarks.suite.figures import over_rounds, ratios, spread
from benchmarks.suite.pace import Pace
from benchmarks.workloads import sentences

ARCHIVE: Final = "zero-shot-tiny.tar.gz"
LABELS: Final = (1, 4, 16, 64)
CALLERS: Final = (4, 16)
_MANY: Final = 16
_TOPICS: Final = ("delivery", "quality", "price", "weather", "travel", "sport", "science", "music", "health", "money")
_SIDES: Final = ("good", "bad", "late", "early", "old", "new", "public", "private", "local", "foreign")


def bodies(labels: int, count: int = 64, seed: int = 7) -> list[str]:
    """Requests with so many distinct two-word labels each; the same every time."""
    choose = random.Random(seed)
    pairs = [f"{side} {topic}" for side in _SIDES for topic in _TOPICS]
    return [
        json.dumps({"inputs": text, "parameters": {"candidate_labels": choose.sample(pairs, labels)}})
        for text in sentences(count)
    ]


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    archive_file(ARCHIVE)
    alone: dict[int, list[dict[str, float]]] = {labels: [] for labels in LABELS}
    together: dict[int, list[dict[str, float]]] = {callers: [] for callers in CALLERS}
    with tempfile.TemporaryDirectory() as cache, serving(ARCHIVES, "--cache-dir", cache, "--preload", ARCHIVE) as port:
        for _ in pace.rounds():
            for labels in LABELS:
                alone[labels].append(measured(_load(port, labels, 1, pace)))
            for callers in CALLERS:
                together[callers].append(measured(_load(port, _MANY, callers, pace)))
    one = [row["p50_ms"] for row in alone[1]]
    rate = [row["requests_per_s"] for row in alone[_MANY]]
    return {
        "rounds": len(one),
        "labels": {
            str(labels): over_rounds(rows)
            | spread("labels_per_s", [labels * row["requests_per_s"] for row in rows])
            | ratios("cost_vs_one_label", [row["p50_ms"] for row in rows], one)
            for labels, rows in alone.items()
        },
        f"callers with {_MANY} labels": {
            str(callers): over_rounds(rows)
            | spread("labels_per_s", [_MANY * row["requests_per_s"] for row in rows])
            | ratios("throughput_vs_one_caller", [row["requests_per_s"] for row in rows], rate)
            for callers, rows in together.items()
        },
    }


def _load(port: int, labels: int, callers: int, pace: Pace) -> Load:
    headers = {**JSON, "x-amzn-sagemaker-target-model": ARCHIVE}
    return Load("127.0.0.1", port, "/invocations", headers, bodies(labels), callers, pace.seconds(4, 1.5))

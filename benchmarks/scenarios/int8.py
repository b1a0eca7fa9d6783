"""How much faster is the int8 archive than the FP32 one, and how far apart are their vectors?

Real MiniLM, sentences of 8 to 64 tokens, closed loops of 1, 16 and 64 over HTTP. Both archives are resident in one
server and take turns within each round, the first one another each time; ratios are taken within a round. The vectors
of a thousand sentences are compared as the server answers them, sixteen to a request; beside that stands what the
builder measured on a thousand texts of its own (`built`). Both archives are batched alike.
"""

import json
import tarfile
import tempfile
from typing import Any, Final
from urllib.request import Request, urlopen

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import Started, put, started
from benchmarks.payloads import ARCHIVES, JSON, archive_file
from benchmarks.suite.figures import over_rounds, ratios
from benchmarks.suite.pace import Pace
from benchmarks.workloads import sentence_bodies, sentences

FP32: Final = "minilm.tar.gz"
INT8: Final = "minilm-int8.tar.gz"
SECONDS: Final = {1: 3.0, 16: 4.0, 64: 8.0}
QUICK: Final = 0.4
"""Of those, in a quick run."""
WARM_S: Final = 4.0
COMPARED: Final = 1000
_TOGETHER: Final = 16
_OTHERS: Final = 11
"""The seed of the sentences that are compared: not those of the load."""

Rounds = dict[str, dict[int, list[dict[str, float]]]]


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    for name in (FP32, INT8):
        archive_file(name)
    bodies = sentence_bodies(sentences())
    found: Rounds = {name: {each: [] for each in SECONDS} for name in (FP32, INT8)}
    flags = ("--preload", f"{FP32},{INT8}")
    with tempfile.TemporaryDirectory() as cache, started(str(ARCHIVES), "--cache-dir", cache, *flags) as server:
        for name in (FP32, INT8):  # busy steps are packed first (docs/batching.md): not within a round
            put(_load(server, name, bodies, 1, WARM_S))
        for index in pace.rounds():
            for concurrency, seconds in SECONDS.items():
                for name in (FP32, INT8) if index % 2 == 0 else (INT8, FP32):
                    load = _load(server, name, bodies, concurrency, seconds * pace.seconds(1.0, QUICK))
                    found[name][concurrency].append(_measured(load))
        pace.tell(f"comparing {COMPARED} vectors")
        accuracy = _cosines(server.port, sentences(COMPARED, _OTHERS))
    return {
        "rounds": len(found[FP32][1]),
        "fp32": {str(each): over_rounds(rows) for each, rows in found[FP32].items()},
        "int8": {str(each): over_rounds(rows) | _beside(rows, found[FP32][each]) for each, rows in found[INT8].items()},
        "accuracy": {"served": accuracy, "built": built(INT8)},
    }


def _load(server: Started, archive: str, bodies: list[str], concurrency: int, seconds: float) -> Load:
    headers = {**JSON, "x-amzn-sagemaker-target-model": archive}
    return Load("127.0.0.1", server.port, "/invocations", headers, bodies, concurrency, seconds, pid=server.pid)


def _measured(load: Load) -> dict[str, float]:
    found = put(load)
    if found.failed:
        raise RuntimeError(f"{found.failed} of {found.requests} requests failed: {load.headers}")
    row = {name: getattr(found, name) for name in ("requests_per_s", "p50_ms", "p99_ms")}
    return {**row, "server_cpu_ms_per_text": round((found.server_cpu_s or 0.0) / found.requests * 1e3, 2)}


def _beside(rows: list[dict[str, float]], exact: list[dict[str, float]]) -> dict[str, Any]:
    """The int8 archive's ratios to the other one, each within its round."""

    def of(name: str, these: list[dict[str, float]]) -> list[float]:
        return [row[name] for row in these]

    return {
        **ratios("throughput_vs_fp32", of("requests_per_s", rows), of("requests_per_s", exact)),
        **ratios("p50_vs_fp32", of("p50_ms", rows), of("p50_ms", exact)),
        **ratios("p99_vs_fp32", of("p99_ms", rows), of("p99_ms", exact)),
        **ratios("cpu_vs_fp32", of("server_cpu_ms_per_text", rows), of("server_cpu_ms_per_text", exact)),
    }


def _cosines(port: int, texts: list[str]) -> dict[str, float]:
    """The least and the mean cosine of the two archives' vectors for the same texts."""
    one, other = (
        np.concatenate([_vectors(port, name, texts[at : at + _TOGETHER]) for at in range(0, len(texts), _TOGETHER)])
        for name in (FP32, INT8)
    )
    cosines = (one * other).sum(axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
    return {
        "texts": len(texts),
        "min_cosine": round(float(cosines.min()), 6),
        "mean_cosine": round(float(cosines.mean()), 6),
    }


def _vectors(port: int, archive: str, texts: list[str]) -> NDArray[np.float64]:
    tensor = {"name": "INPUT0", "shape": [len(texts), 1], "datatype": "BYTES", "data": texts}
    headers = {**JSON, "x-amzn-sagemaker-target-model": archive}
    request = Request(f"http://127.0.0.1:{port}/invocations", json.dumps({"inputs": [tensor]}).encode(), headers)
    with urlopen(request, timeout=60) as answer:
        (output,) = json.load(answer)["outputs"]
    return np.array(output["data"]).reshape(output["shape"])


def built(archive: str) -> dict[str, float]:
    """What the archive's manifest says of its accuracy; {} where its builder did not measure it."""
    with tarfile.open(archive_file(archive)) as packed:
        for member in packed:
            file = packed.extractfile(member) if member.name.endswith("roundhouse.json") else None
            if file is not None:
                return dict(json.load(file).get("parity", {}).get("beside_fp32", {}))
    return {}

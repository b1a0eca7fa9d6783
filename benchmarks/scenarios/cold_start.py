"""What does a cold start cost, tier by tier and phase by phase, against a bare session of the same graph?

Each round asks for the demo archive (MiniLM, 90 MB) as it comes from the store (packed, in a folder), from unpacked
disk (the same server, after an unload), from unpacked disk after a restart, and for one whose steps are all resident
but its head (`topic`); a bare session of the same graph is loaded and run in a process of its own between them. Then
the same through Triton, against Triton's own load of the same repository in the same process. Medians of the rounds,
all in one sitting. The page cache stays warm: only root could drop it.
"""

import http.client
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, Final

from benchmarks.baselines.bare_triton import TRITON, SupervisedTriton, supervised_pid
from benchmarks.load.processes import ROUNDHOUSE, baseline, serving
from benchmarks.suite.pace import Pace
from benchmarks.workloads import sentences

ARCHIVES: Final = Path("model_repository/archives")
BASE: Final = "minilm.tar.gz"
HEAD: Final = "topic.tar.gz"
ENTRY: Final = "minilm"
ROUNDS: Final = (5, 2)
"""In full, and quick."""
TRITON_ROUNDS: Final = (3, 2)
REST_S: Final = 0.5
"""For what an earlier request left to be done."""
TRITON_REST_S: Final = 3.0
"""Triton's Python processes take more than a second to end."""
_PHASE: Final = re.compile(r'([a-z-]+)(?:;desc="([^"]*)")?;dur=([0-9.]+)')


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    with tempfile.TemporaryDirectory() as folder:
        store, unpacked = Path(folder, "store"), Path(folder, "unpacked")
        store.mkdir()
        for archive in (BASE, HEAD):
            _repack(archive, unpacked / archive, store)
        result = _embedded(store, unpacked / BASE, pace)
        if TRITON.is_dir():
            result["triton"] = _triton(store, unpacked / BASE, pace)
    return {"rounds": pace.of(*ROUNDS), **result}


def _repack(archive: str, unpacked: Path, store: Path) -> None:
    """As archives are packed today, whenever those in model_repository were built."""
    if not (ARCHIVES / archive).is_file():
        raise SystemExit(f"{ARCHIVES / archive} is missing: make archives")
    with tarfile.open(ARCHIVES / archive) as packed:
        packed.extractall(unpacked, filter="data")
    command = [str(ROUNDHOUSE), "archive", "pack", str(unpacked), "-o", str(store / archive)]
    subprocess.run(command, check=True, capture_output=True)


def _embedded(store: Path, unpacked: Path, pace: Pace) -> dict[str, Any]:
    tiers: dict[str, list[dict[str, Any]]] = {}
    bare: list[dict[str, float]] = []
    for _ in pace.rounds(*ROUNDS, of="embedded"):
        with tempfile.TemporaryDirectory() as cache:
            with serving(store, "--cache-dir", cache) as port:
                for tier in ("store", "disk"):
                    bare.append(_bare(unpacked))
                    _add(tiers, tier, _ask(port, BASE))
                    _unload(port, BASE)
                for archive in (BASE, HEAD):
                    _ask(port, archive)
                _unload(port, HEAD)
                _add(tiers, "disk, all but the head resident", _ask(port, HEAD))
            bare.append(_bare(unpacked))
            with serving(store, "--cache-dir", cache) as port:
                _add(tiers, "disk, after a restart", _ask(port, BASE))
    bare_ms = median(each["session_ms"] + each["first_run_ms"] for each in bare)
    return {
        "bare": {"first_answer_ms": round(bare_ms, 1), **{key: _median(bare, key) for key in bare[0]}},
        "tiers": {tier: _tier(rows, bare_ms) for tier, rows in tiers.items()},
    }


def _triton(store: Path, unpacked: Path, pace: Pace) -> dict[str, Any]:
    tiers: dict[str, list[dict[str, Any]]] = {}
    bare: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as cache, serving(store, "--cache-dir", cache, "--engine", "triton") as port:
        triton = SupervisedTriton(supervised_pid(port))
        triton.add(unpacked)
        _add(tiers, "store", _ask(port, BASE))
        for _ in pace.rounds(*TRITON_ROUNDS, of="triton"):
            _unload(port, BASE)
            sleep(TRITON_REST_S)
            bare.append(triton.cold_start(ENTRY, _text()))
            sleep(TRITON_REST_S)
            _add(tiers, "disk", _ask(port, BASE))
    bare_ms = median(each["first_answer_ms"] for each in bare)
    return {
        "bare": {key: _median(bare, key) for key in bare[0]},
        "tiers": {tier: _tier(rows, bare_ms) for tier, rows in tiers.items()},
    }


def _bare(unpacked: Path) -> dict[str, float]:
    model, tokenizer = unpacked / "encoder/1/model.onnx", unpacked / "tokenize/1/tokenizer.json"
    return baseline("bare_cold_start", str(model), str(tokenizer), _text())


def _text() -> str:
    return sentences()[0]


def _unload(port: int, archive: str) -> None:
    with _answer(port, "POST", f"/admin/unload/{archive}") as answer:
        answer.read()


def _ask(port: int, archive: str) -> dict[str, Any]:
    """One request: what the caller waited, and the phases that the answer tells."""
    sleep(REST_S)
    headers = {"content-type": "application/json", "x-amzn-sagemaker-target-model": archive}
    began = perf_counter()
    with _answer(port, "POST", "/invocations", json.dumps({"inputs": [_text()]}), headers) as answer:
        answer.read()
        took_ms = (perf_counter() - began) * 1e3
        phases = _PHASE.findall(answer.headers.get("server-timing", ""))
    return {
        "first_answer_ms": took_ms,
        "warmth": answer.headers["x-roundhouse-warmth"],
        "phases_ms": {f"{phase} {of}".strip(): float(took) for phase, of, took in phases},
    }


@contextmanager
def _answer(
    port: int, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        if answer.status not in {200, 204}:
            raise SystemExit(f"{path}: {answer.status} {answer.read()[:300]!r}")
        yield answer
    finally:
        connection.close()


def _add(tiers: dict[str, list[dict[str, Any]]], tier: str, row: dict[str, Any]) -> None:
    tiers.setdefault(tier, []).append(row)


def _tier(rows: list[dict[str, Any]], bare_ms: float) -> dict[str, Any]:
    took = [row["first_answer_ms"] for row in rows]
    return {
        "warmth": rows[0]["warmth"],
        "first_answer_ms": round(median(took), 1),
        "first_answer_ms_min_max": [round(min(took), 1), round(max(took), 1)],
        "vs_bare": round(median(took) / bare_ms, 2),
        "phases_ms": {phase: _median([row["phases_ms"] for row in rows], phase) for phase in rows[0]["phases_ms"]},
    }


def _median(rows: list[dict[str, float]], key: str) -> float:
    return round(median(row.get(key, 0.0) for row in rows), 1)

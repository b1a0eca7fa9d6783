"""How much faster are an int8 archive and split FP32 products than FP32, and how far apart are their vectors?

Real MiniLM, sentences of 8 to 64 tokens, closed loops of 1, 16 and 64 over HTTP. Two servers, one of which multiplies
FP32 as it is (`--float32-matmul-precision highest`), and one as it does by default: split, where the processor has
tiles. The three take turns within each round, the first one another each time; ratios are taken within a round. The
vectors of a thousand sentences are compared as the servers answer them, sixteen to a request; beside that stands what
the builder measured of int8 on a thousand texts of its own (`built`). All are batched alike.
"""

import json
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple
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
FORMS: Final = ("fp32", "split", "int8")
SECONDS: Final = {1: 3.0, 16: 4.0, 64: 8.0}
QUICK: Final = 0.4
"""Of those, in a quick run."""
WARM_S: Final = 4.0
COMPARED: Final = 1000
_TOGETHER: Final = 16
_OTHERS: Final = 11
"""The seed of the sentences that are compared: not those of the load."""

Rounds = dict[str, dict[int, list[dict[str, float]]]]


class Form(NamedTuple):
    """Something to ask: a server, and an archive in it."""

    server: Started
    archive: str


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    for name in (FP32, INT8):
        archive_file(name)
    bodies = sentence_bodies(sentences())
    found: Rounds = {form: {each: [] for each in SECONDS} for form in FORMS}
    with ExitStack() as stack:
        forms = _forms(stack)
        for form in forms.values():  # busy steps are packed first (docs/batching.md): not within a round
            put(_load(form, bodies, 1, WARM_S))
        for index in pace.rounds():
            for concurrency, seconds in SECONDS.items():
                for name in FORMS[index % 3 :] + FORMS[: index % 3]:
                    load = _load(forms[name], bodies, concurrency, seconds * pace.seconds(1.0, QUICK))
                    found[name][concurrency].append(_measured(load))
        pace.tell(f"comparing {COMPARED} vectors")
        accuracy = _cosines(forms, sentences(COMPARED, _OTHERS))
    exact = found.pop("fp32")
    return {
        "rounds": len(exact[1]),
        "fp32": {str(each): over_rounds(rows) for each, rows in exact.items()},
        **{
            name: {str(each): over_rounds(rows) | _beside(rows, exact[each]) for each, rows in of.items()}
            for name, of in found.items()
        },
        "accuracy": {**accuracy, "built": built(INT8)},
    }


def _forms(stack: ExitStack) -> dict[str, Form]:
    cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))

    def server(preload: str, *flags: str) -> Started:
        flags = ("--cache-dir", str(cache / preload), "--preload", preload, *flags)
        return stack.enter_context(started(str(ARCHIVES), *flags))

    exact, usual = server(FP32, "--float32-matmul-precision", "highest"), server(f"{FP32},{INT8}")
    return {"fp32": Form(exact, FP32), "split": Form(usual, FP32), "int8": Form(usual, INT8)}


def _load(form: Form, bodies: list[str], concurrency: int, seconds: float) -> Load:
    headers = {**JSON, "x-amzn-sagemaker-target-model": form.archive}
    server = form.server
    return Load("127.0.0.1", server.port, "/invocations", headers, bodies, concurrency, seconds, pid=server.pid)


def _measured(load: Load) -> dict[str, float]:
    found = put(load)
    if found.failed:
        raise RuntimeError(f"{found.failed} of {found.requests} requests failed: {load.headers}")
    row = {name: getattr(found, name) for name in ("requests_per_s", "p50_ms", "p99_ms")}
    return {**row, "server_cpu_ms_per_text": round((found.server_cpu_s or 0.0) / found.requests * 1e3, 2)}


def _beside(rows: list[dict[str, float]], exact: list[dict[str, float]]) -> dict[str, Any]:
    """Ratios to FP32, each within its round."""

    def of(name: str, these: list[dict[str, float]]) -> list[float]:
        return [row[name] for row in these]

    return {
        **ratios("throughput_vs_fp32", of("requests_per_s", rows), of("requests_per_s", exact)),
        **ratios("p50_vs_fp32", of("p50_ms", rows), of("p50_ms", exact)),
        **ratios("p99_vs_fp32", of("p99_ms", rows), of("p99_ms", exact)),
        **ratios("cpu_vs_fp32", of("server_cpu_ms_per_text", rows), of("server_cpu_ms_per_text", exact)),
    }


def _cosines(forms: dict[str, Form], texts: list[str]) -> dict[str, dict[str, float]]:
    """The least and the mean cosine of each form's vectors with those of FP32, and the largest difference."""
    vectors = {
        name: np.concatenate([_vectors(form, texts[at : at + _TOGETHER]) for at in range(0, len(texts), _TOGETHER)])
        for name, form in forms.items()
    }
    exact = vectors.pop("fp32")
    found = {}
    for name, these in vectors.items():
        cosines = (exact * these).sum(axis=1) / (np.linalg.norm(exact, axis=1) * np.linalg.norm(these, axis=1))
        found[name] = {
            "texts": len(texts),
            "min_cosine": round(float(cosines.min()), 9),
            "mean_cosine": round(float(cosines.mean()), 9),
            "largest_difference": float(f"{np.abs(exact - these).max():.2g}"),
        }
    return found


def _vectors(form: Form, texts: list[str]) -> NDArray[np.float64]:
    tensor = {"name": "INPUT0", "shape": [len(texts), 1], "datatype": "BYTES", "data": texts}
    headers = {**JSON, "x-amzn-sagemaker-target-model": form.archive}
    body = json.dumps({"inputs": [tensor]}).encode()
    request = Request(f"http://127.0.0.1:{form.server.port}/invocations", body, headers)
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

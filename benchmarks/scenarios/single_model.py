"""How do throughput and latency percentiles of one text model go with concurrency, for sentences of mixed length?

Real MiniLM in FP32, sentences of 8 to 64 tokens, closed loops of 1, 4, 16 and 64 over HTTP with the load generator on
the same cores. Beside them, in the same round: the bare engine one text at a time with all cores (what a request at
concurrency 1 can be compared with), and the bare limit of throughput (one worker per core, batches of four, sorted
within 64 texts; `baselines/bare_sorted.py`). Medians over the rounds. Where others use the cores too, times mean
little; what still compares is `cpu_vs_bare_limit`, the bare limit's CPU seconds per text over the server's. With
`--peers` other servers answer the same load in the same rounds (`baselines/peers`).
"""

import json
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.baselines.peers.catalogue import peers_here
from benchmarks.baselines.peers.peer import Address, Files
from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import baseline, measured, put, started
from benchmarks.suite.figures import over_rounds, ratios
from benchmarks.suite.pace import Pace
from benchmarks.workloads import sentence_bodies, sentences

ARCHIVES = Path("model_repository/archives")
ARCHIVE = "minilm.tar.gz"
SECONDS = {1: 3.0, 4: 3.0, 16: 4.0, 64: 8.0}
QUICK = 0.4
"""Of those, in a quick run."""


@dataclass
class Sitting:
    """A running server and the files of the bare runs."""

    port: int
    server: psutil.Process
    files: Files
    bodies: list[str]
    scale: float = 1.0
    """Of the seconds in full."""
    alone: list[dict[str, float]] = field(default_factory=list)
    limit: list[dict[str, float]] = field(default_factory=list)
    served: dict[int, list[dict[str, float]]] = field(default_factory=lambda: {each: [] for each in SECONDS})
    addresses: dict[str, Address] = field(default_factory=dict)
    """Of the peers."""
    peers: dict[str, dict[int, list[dict[str, float]]]] = field(default_factory=dict)

    def round(self) -> None:
        """Measure everything once, so that a noisy minute hits all of it."""
        files = [str(each) for each in (self.files.graph, self.files.tokenizer, self.files.texts)]
        self.alone.append(baseline("bare_onnxruntime", "sentence", *files))
        self.limit.append(baseline("bare_sorted", *files, f"{5 * self.scale}"))
        for concurrency, seconds in SECONDS.items():
            headers = {"content-type": "application/json", "x-amzn-sagemaker-target-model": ARCHIVE}
            used = sum(self.server.cpu_times()[:2])
            load = Load("127.0.0.1", self.port, "/invocations", headers, self.bodies, concurrency, seconds * self.scale)
            outcome = put(load)
            if outcome.failed:
                raise SystemExit(f"{outcome.failed} of {outcome.requests} requests failed at {concurrency}")
            used = sum(self.server.cpu_times()[:2]) - used
            row = {name: getattr(outcome, name) for name in ("requests_per_s", "p50_ms", "p99_ms")}
            self.served[concurrency].append({**row, "server_cpu_s_per_1000": round(used / outcome.requests * 1000, 2)})
            for name, address in self.addresses.items():
                self._ask(name, address, concurrency)

    def _ask(self, name: str, address: Address, concurrency: int) -> None:
        """The same load on a peer, right after the server's."""
        bodies = [address.body(body) for body in self.bodies]
        seconds = SECONDS[concurrency] * self.scale
        load = Load("127.0.0.1", address.port, address.path, dict(address.headers), bodies, concurrency, seconds)
        self.peers.setdefault(name, {each: [] for each in SECONDS})[concurrency].append(measured(load))

    def result(self) -> dict[str, Any]:
        """What the rounds say, with ratios taken within each round."""
        limit_rate = [row["texts_per_s"] for row in self.limit]
        limit_cpu = [row["cpu_s_per_1000"] for row in self.limit]
        rows = {}
        for concurrency, outcomes in self.served.items():
            rates = [row["requests_per_s"] for row in outcomes]
            cpu = [row["server_cpu_s_per_1000"] for row in outcomes]
            mean_ms = [1e3 * concurrency / rate for rate in rates]
            rows[str(concurrency)] = {
                **over_rounds(outcomes),
                **ratios("throughput_vs_bare_limit", rates, limit_rate),
                **ratios("cpu_vs_bare_limit", limit_cpu, cpu),
                **ratios("p99_vs_closed_loop_mean", [row["p99_ms"] for row in outcomes], mean_ms),
            }
        p50s, alone = [row["p50_ms"] for row in self.served[1]], [row["p50_ms"] for row in self.alone]
        return {
            "rounds": len(self.alone),
            "bare_one_at_a_time": over_rounds(self.alone),
            "bare_limit": over_rounds(self.limit),
            "served": rows,
            **ratios("p50_vs_bare_at_concurrency_1", p50s, alone),
            **({"peers": self._peers()} if self.peers else {}),
        }

    def _peers(self) -> dict[str, Any]:
        """Each peer's figures, and how many times its throughput the server made in the same round."""
        return {
            name: {
                str(each): over_rounds(found)
                | ratios(
                    "served_throughput_vs_this",
                    [row["requests_per_s"] for row in self.served[each]],
                    [row["requests_per_s"] for row in found],
                )
                for each, found in rows.items()
            }
            for name, rows in self.peers.items()
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
        files = Files(*(root / part for part in parts))
        with started(str(ARCHIVES), "--cache-dir", str(root / "cache"), "--preload", ARCHIVE, *flags) as server:
            yield Sitting(server.port, psutil.Process(server.pid), files, sentence_bodies(texts))


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result."""
    with sitting() as found, ExitStack() as stack:
        found.scale = pace.seconds(1.0, QUICK)
        for peer in peers_here() if pace.with_peers else ():
            pace.tell(f"starting {peer.name}")
            found.addresses[peer.name] = stack.enter_context(peer.start(found.files))
        for _ in pace.rounds():
            found.round()
    return found.result()

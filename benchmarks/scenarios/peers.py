"""Who answers more embeddings a second on the same machine: Roundhouse, or what else a user could pick?

Real MiniLM in FP32, the same graph, tokenizer and sentences of 8 to 64 tokens, closed loops of 1, 4, 16 and 64. Each
peer in an environment of its own, tuned as its documentation says for two cores; a sitting with each, in which it and
Roundhouse are asked in turn, so that a slow minute hits both, and ratios are taken within the round. Before it counts,
each peer's vectors are compared with the bare engine's. Peers that are not here are installed first, except in a quick
run; `--peer NAME` chooses.
"""

import json
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

import numpy as np

from benchmarks.baselines.peers import environments
from benchmarks.baselines.peers.catalogue import named
from benchmarks.baselines.peers.embedding import Embedder
from benchmarks.baselines.peers.peer import Address, Files, Peer, vector_in
from benchmarks.load.closed_loop import Load
from benchmarks.load.processes import Started, baseline, put, started
from benchmarks.payloads import ARCHIVES, JSON, archive_file
from benchmarks.suite.figures import over_rounds, ratios
from benchmarks.suite.pace import Pace
from benchmarks.workloads import sentence_bodies, sentences

ARCHIVE: Final = "minilm.tar.gz"
SECONDS: Final = {1: 2.0, 4: 3.0, 16: 3.0, 64: 5.0}
QUICK: Final = {1: 1.0, 64: 2.0}
ALIKE: Final = 0.9999
"""Cosine from which two vectors are the same answer."""
Rounds = dict[int, list[dict[str, float]]]


class OtherAnswers(RuntimeError):
    """A peer answers something else than the bare engine: its speed says nothing. The message has the cosine."""


@dataclass
class Sitting:
    """What one peer and Roundhouse did side by side."""

    peer: Rounds = field(default_factory=dict)
    served: Rounds = field(default_factory=dict)


def run(pace: Pace) -> dict[str, Any]:
    """Measure; returns a JSON-ready result. A peer that fails is told, and loses its own figures only."""
    sittings: dict[str, Sitting] = {}
    not_here: dict[str, str] = {}
    versions: dict[str, str] = {}
    limit: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = _unpacked(Path(folder))
        flags = ("--cache-dir", str(Path(folder, "cache")), "--preload", ARCHIVE)
        with started(str(ARCHIVES), *flags) as server:
            for peer in named(pace.peers):
                if why := why_not(peer, pace):
                    not_here[peer.name] = why
                    continue
                limit.append(baseline("bare_sorted", *map(str, (files.graph, files.tokenizer, files.texts)), "3"))
                try:
                    sittings[peer.name] = _sitting(peer, files, server, pace)
                except (RuntimeError, OSError, ValueError) as error:
                    not_here[peer.name] = f"failed: {' '.join(str(error).split())[:300]}"
                    pace.tell(f"{peer.name}: {not_here[peer.name]}")
                else:
                    versions[peer.name] = environments.versions(peer)
    if not sittings:
        raise RuntimeError(f"no peer could be measured: {not_here}")
    return {"rounds": pace.of(3, 2), **summed_up(sittings, limit), "versions": versions, "not_here": not_here}


def why_not(peer: Peer, pace: Pace, make: Callable[..., None] = environments.make) -> str:
    """Why a peer is not measured, or "", after its environment was made where it may be."""
    if pace.is_quick and not peer.is_quick and not pace.peers:
        return "not in the quick form"
    if why := peer.missing():
        return why
    try:
        make(peer, pace.tell)
    except environments.NotInstallable as error:
        return str(error)
    return ""


def summed_up(sittings: dict[str, Sitting], limit: list[dict[str, float]]) -> dict[str, Any]:
    """Roundhouse over all sittings, each peer over its own, with what Roundhouse did there over what the peer did."""
    served: Rounds = {}
    for sitting in sittings.values():
        for each, rows in sitting.served.items():
            served.setdefault(each, []).extend(rows)
    return {
        "bare_limit": over_rounds(limit),
        "served": {str(each): over_rounds(rows) for each, rows in served.items()},
        "peers": {
            name: {str(each): _beside(sitting, each) for each in sitting.peer} for name, sitting in sittings.items()
        },
    }


def _beside(sitting: Sitting, each: int) -> dict[str, Any]:
    rows, ours = sitting.peer[each], sitting.served[each]
    rates = [[row["requests_per_s"] for row in found] for found in (ours, rows)]
    waits = [[row["p50_ms"] for row in found] for found in (ours, rows)]
    return (
        over_rounds(rows)
        | ratios("served_throughput_vs_this", rates[0], rates[1])
        | ratios("served_p50_vs_this", waits[0], waits[1])
    )


def _sitting(peer: Peer, files: Files, server: Started, pace: Pace) -> Sitting:
    """Raises RuntimeError, OSError, ValueError: it did not start or answered badly; OtherAnswers among them."""
    found = Sitting()
    bodies = sentence_bodies(sentences())
    seconds = QUICK if pace.is_quick else SECONDS
    ours = Address(server.port, "/invocations", {**JSON, "x-amzn-sagemaker-target-model": ARCHIVE}, pid=server.pid)
    pace.tell(f"starting {peer.name}")
    with peer.start(files) as theirs:
        check_answers(theirs, files)
        _ask(theirs, bodies, 4, 1.0)  # its first requests are slower, and no round shall have them
        sides = [(ours, found.served), (theirs, found.peer)]
        for _ in pace.rounds(of=peer.name):
            for each, length in seconds.items():
                for address, rows in sides:
                    rows.setdefault(each, []).append(_ask(address, bodies, each, length))
            sides.reverse()  # who goes second goes on a processor that has just been busy
    return found


def _ask(address: Address, bodies: list[str], concurrency: int, seconds: float) -> dict[str, float]:
    """Raises RuntimeError where an answer was not 200."""
    sent = [address.body(body) for body in bodies]
    load = Load(
        "127.0.0.1", address.port, address.path, dict(address.headers), sent, concurrency, seconds, pid=address.pid
    )
    outcome = put(load)
    if outcome.failed:
        raise RuntimeError(f"{outcome.failed} of {outcome.requests} requests failed at {concurrency}")
    row = {"requests_per_s": outcome.requests_per_s, "p50_ms": outcome.p50_ms, "p99_ms": outcome.p99_ms}
    cpu = outcome.server_cpu_s
    return row if cpu is None else {**row, "cpu_s_per_1000": round(cpu / outcome.requests * 1000, 2)}


def check_answers(address: Address, files: Files, count: int = 4) -> None:
    """Compare its vectors with the bare engine's.

    Raises:
        OtherAnswers: they point elsewhere.
    """
    texts = sentences()[:count]
    embedder = Embedder(str(files.graph), str(files.tokenizer))
    for text, body in zip(texts, sentence_bodies(texts), strict=True):
        request = Request(
            f"http://127.0.0.1:{address.port}{address.path}", address.body(body).encode(), dict(address.headers)
        )
        with urlopen(request, timeout=60) as answer:
            got = np.array(vector_in(json.load(answer)))
        expected = embedder.embed([text])[0]
        cosine = float(got @ expected / np.linalg.norm(got) / np.linalg.norm(expected))
        if cosine < ALIKE:
            raise OtherAnswers(f"it answers something else than the bare engine: cosine {cosine:.4f}")


def _unpacked(folder: Path) -> Files:
    with tarfile.open(archive_file(ARCHIVE)) as archive:
        archive.extractall(folder / "minilm", filter="data")
    (folder / "texts.json").write_text(json.dumps(sentences()))
    parts = ("minilm/encoder/1/model.onnx", "minilm/tokenize/1/tokenizer.json", "texts.json")
    return Files(*(folder / part for part in parts))

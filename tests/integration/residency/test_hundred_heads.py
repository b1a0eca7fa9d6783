"""A hundred classifiers on one real encoder: the memory of one encoder, the answers of a hundred heads."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.families.sentence_classifier import Head, build
from server.archive.unpack import UnpackLimits, unpack
from server.domain.inference import Array
from tests.integration.live_server import ROOT, LiveServer, live_server
from tests.integration.residency.asking import Client, charged_bytes
from tests.integration.residency.process_memory import memory_of

pytestmark = [pytest.mark.slow, pytest.mark.builders]

BASE = ROOT / "model_repository" / "archives" / "minilm.tar.gz"
HEADS = 100
CLASSES = 5
WIDTH = 384
TOLERANCE = 0.15
TEXTS = ("The keeper saved a penalty.", "Whisk the eggs with sugar.", "Shares lost value today.")


@dataclass(frozen=True, slots=True)
class Heads:
    """A server that answered once from the base and from each head."""

    server: LiveServer
    heads: Sequence[Head]
    embeddings: Array
    scores: Sequence[Array]
    grown_by_base: int
    charged_for_base: int
    grown: int
    residency: Any


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heads]:
    folder = tmp_path_factory.mktemp("heads")
    heads = write_heads(folder / "store")
    flags = ("--store", folder / "store", "--memory-budget", "1GiB", "--engine", "embedded", "--log-level", "warning")
    with live_server(folder / "server", *flags) as server, Client(server) as client:
        start = memory_of(server.pid)
        embeddings = client.infer_text("minilm", list(TEXTS)).output
        grown_by_base = memory_of(server.pid).grown_since(start)
        charged_for_base = charged_bytes(client.residency())
        scores = [client.infer_text(head_name(index), list(TEXTS)).output for index in range(HEADS)]
        grown = memory_of(server.pid).grown_since(start)
        found = Heads(server, heads, embeddings, scores, grown_by_base, charged_for_base, grown, client.residency())
        print(f"\n[figures] {figures(found)}")
        yield found


def head_name(index: int) -> str:
    return f"head-{index:03}"


def write_heads(store: Path) -> Sequence[Head]:
    """The base and a hundred classifiers as folders that share the base's files by hard links."""
    assert BASE.is_file(), f"{BASE} is missing: make it with  make archives"
    base = store / "minilm"
    base.mkdir(parents=True)
    with BASE.open("rb") as file:
        unpack(file, base, UnpackLimits())
    random = np.random.default_rng(100)
    labels = [f"class {number}" for number in range(CLASSES)]
    heads = [
        Head(
            random.standard_normal((WIDTH, CLASSES)).astype(np.float32),
            random.standard_normal(CLASSES).astype(np.float32),
            labels,
        )
        for _ in range(HEADS)
    ]
    for index, head in enumerate(heads):
        build(base, head, f"classifier-{index:03}", store / head_name(index))
    return heads


def expected_scores(embeddings: Array, head: Head) -> Array:
    """What a head answers: softmax of a linear map. FP32 [batch, CLASSES]."""
    logits = embeddings @ head.weights + head.bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: Array = powers / powers.sum(axis=1, keepdims=True)
    return scores


def figures(asked: Heads) -> str:
    residents = [each for each in asked.residency["residents"] if each["archive"] != "minilm"]
    staging = [each["staging_s"] * 1e3 for each in residents]
    load = [each["load_s"] * 1e3 for each in residents]
    return (
        f"base: ledger {asked.charged_for_base / 1e6:.1f} MB, process {asked.grown_by_base / 1e6:.1f} MB; with {HEADS} heads: "
        f"ledger {charged_bytes(asked.residency) / 1e6:.1f} MB, process {asked.grown / 1e6:.1f} MB; per head: "
        f"staging median {np.median(staging):.0f} ms (worst {max(staging):.0f}), load median {np.median(load):.0f} ms"
    )


def test_each_head_answers_with_its_own_numbers(asked: Heads) -> None:
    assert asked.embeddings.shape == (len(TEXTS), WIDTH)
    np.testing.assert_allclose(np.linalg.norm(asked.embeddings, axis=1), 1.0, atol=1e-5)
    for head, scores in zip(asked.heads, asked.scores, strict=True):
        np.testing.assert_allclose(scores, expected_scores(asked.embeddings, head), atol=1e-5)


def test_one_encoder_and_one_tokenizer_are_charged_once(asked: Heads) -> None:
    steps = asked.residency["steps"]
    shared = [step for step in steps if len(step["shared_by"]) > 1]
    own = [step for step in steps if len(step["shared_by"]) == 1]

    assert {step["backend"] for step in shared} == {"onnxruntime", "python"}
    assert [len(step["shared_by"]) for step in shared] == [HEADS + 1] * 2
    assert sum(step["charged_bytes"]["cpu"] for step in steps) == charged_bytes(asked.residency)
    assert max(step["charged_bytes"]["cpu"] for step in own) < 1_000_000


def test_the_process_takes_the_memory_of_one_encoder(asked: Heads) -> None:
    """All hundred and the base: less than twice one of them, where they would take a hundred times as much alone."""
    assert asked.grown < 2 * asked.charged_for_base
    assert charged_bytes(asked.residency) < 1.25 * asked.charged_for_base


def test_the_process_holds_what_the_ledger_says(asked: Heads) -> None:
    assert abs(asked.grown / charged_bytes(asked.residency) - 1) <= TOLERANCE


def test_the_shared_steps_outlive_all_heads_but_the_last(asked: Heads) -> None:
    with Client(asked.server) as client:
        for index in range(HEADS):
            assert client.unload(head_name(index)).status == 200
        after = client.residency()
        scores = client.infer_text("minilm", list(TEXTS)).output

    assert charged_bytes(after) == asked.charged_for_base
    np.testing.assert_allclose(scores, asked.embeddings, atol=1e-6)


def test_the_disk_cache_holds_one_encoder(asked: Heads) -> None:
    """By inode: what the store and the staged steps have in common is counted once."""
    cache = asked.server.log.parent / "cache"
    inodes = {(info.st_dev, info.st_ino): info.st_blocks * 512 for info in map(os.stat, files_below(cache))}

    assert sum(inodes.values()) < 1.25 * sum(
        path.stat().st_size for path in files_below(cache.parents[1] / "store" / "minilm")
    )


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]

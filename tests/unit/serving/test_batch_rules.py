"""Whose requests may run together, and by which rules."""

from pathlib import Path

import pytest

from server.archive.model_config import parse, signature
from server.domain.model import StagedArchive, Step, StepDigest
from server.serving.batch_reading import read_rules
from server.serving.batch_rules import ALL_BACKENDS, BatchRules, QueuePolicy, rules_for

TEXT_IN = "input { name: 'T' data_type: TYPE_STRING dims: 1 }"
NUMBERS_IN = "input { name: 'X' data_type: TYPE_FP32 dims: 4 }"
OUT = "output { name: 'Y' data_type: TYPE_FP32 dims: 4 }"
ENSEMBLE = f"platform: 'ensemble' max_batch_size: 8 {TEXT_IN} {OUT}"
PYTHON = f"backend: 'python' max_batch_size: 8 {TEXT_IN} {OUT}"
ONNX = f"backend: 'onnxruntime' max_batch_size: 8 {NUMBERS_IN} {OUT}"
GATHERS = "dynamic_batching { }"
PLAIN = BatchRules(max_rows=8, is_text=True)


def archive_of(entry: str, *callees: str, task: str = "", folder: Path = Path("/nonexistent")):
    """An archive of configs, and its configs by digest."""
    configs = {StepDigest(f"s{i}"): parse(text) for i, text in enumerate([*callees, entry])}
    *called, last = configs
    steps = tuple(
        Step(
            digest,
            digest,
            config.backend or "ensemble",
            folder / digest,
            signature(config, folder),
            {name: name for name in called} if digest == last else {},
        )
        for digest, config in configs.items()
    )
    return StagedArchive("a", "1", last, steps, task), configs


def rules(entry: str, *callees: str, task: str = "", mixing=(), self_batching=()):
    return rules_for(*archive_of(entry, *callees, task=task), mixing, self_batching)


@pytest.mark.parametrize(
    ("configs", "task", "expected"),
    [
        ((ENSEMBLE, PYTHON, ONNX), "sentence-embedding", PLAIN),
        ((ENSEMBLE, PYTHON, ONNX), "", None),
        ((ENSEMBLE, PYTHON, ONNX), "somebody-s-own", None),
        ((ENSEMBLE, PYTHON + GATHERS, ONNX), "", None),
        ((ENSEMBLE, PYTHON + GATHERS, ONNX + GATHERS), "", PLAIN),
        ((PYTHON, ENSEMBLE, ONNX), "text-classification", PLAIN),
        ((ONNX,), "", None),
        ((ONNX + GATHERS,), "", BatchRules(max_rows=8)),
    ],
    ids=["task", "plain", "unknown-task", "one-step-gathers", "all-steps-gather", "calls", "one-model", "asked-for"],
)
def test_who_says_that_rows_stand_for_themselves(configs, task, expected):
    assert rules(*configs, task=task) == expected


@pytest.mark.parametrize(
    "step",
    [
        ONNX.replace("max_batch_size: 8", "max_batch_size: 4"),
        ONNX + "response_cache { enable: true }",
        ONNX + "model_transaction_policy { decoupled: true }",
        ONNX + "sequence_batching { }",
    ],
    ids=["smaller-batches", "response-cache", "decoupled", "stateful"],
)
def test_one_step_that_cannot_keeps_the_whole_archive_apart(step):
    assert rules(ENSEMBLE, step, PYTHON, task="sentence-embedding") is None


@pytest.mark.parametrize(
    ("before", "after"),
    [("TYPE_STRING dims: 1", "TYPE_UINT8 dims: -1"), ("dims: 4", "dims: -1"), ("size: 8", "size: 1")],
    ids=["open-input", "open-output", "no-batches"],
)
def test_an_entry_whose_answers_would_show_their_neighbours_is_kept_apart(before, after):
    assert rules(ENSEMBLE.replace(before, after), PYTHON, task="sentence-embedding") is None


def test_a_graph_that_quantises_over_all_rows_is_merged_only_where_its_author_says_so():
    assert rules(ENSEMBLE, PYTHON, ONNX, task="sentence-embedding", mixing={"s1"}) is None
    assert rules(ONNX + GATHERS, mixing={"s0"}) is not None


def test_an_engine_that_batches_single_models_is_left_to_it():
    assert rules(ONNX + GATHERS, self_batching={"python"}) is not None
    assert rules(ONNX + GATHERS, self_batching={"onnxruntime"}) is None
    assert rules(ONNX + GATHERS, self_batching={ALL_BACKENDS}) is None
    assert rules(ENSEMBLE, PYTHON, task="sentence-embedding", self_batching={ALL_BACKENDS}) == PLAIN


def test_all_of_dynamic_batching_is_read():
    asked = """dynamic_batching {
      preferred_batch_size: [4, 2, 16] max_queue_delay_microseconds: 500 priority_levels: 2 default_priority_level: 2
      default_queue_policy { max_queue_size: 7 default_timeout_microseconds: 1000000 }
      priority_queue_policy { key: 1 value { timeout_action: DELAY allow_timeout_override: true } }
    }"""
    assert rules(ONNX + asked) == BatchRules(
        max_rows=8,
        preferred_rows=(2, 4),
        max_delay_s=0.0005,
        priority_levels=2,
        default_priority=2,
        policy=QueuePolicy(max_waiting=7, timeout_s=1.0),
        policies={1: QueuePolicy(is_delayed=True, may_override=True)},
    )


@pytest.mark.parametrize(
    ("policy", "asked_s", "expected_s"),
    [
        (QueuePolicy(timeout_s=2.0), 1.0, 2.0),
        (QueuePolicy(timeout_s=2.0, may_override=True), 1.0, 1.0),
        (QueuePolicy(timeout_s=2.0, may_override=True), 3.0, 2.0),
        (QueuePolicy(timeout_s=2.0, may_override=True), 0.0, 2.0),
        (QueuePolicy(may_override=True), 3.0, 3.0),
    ],
)
def test_a_request_may_shorten_its_time_where_the_policy_allows_it(policy, asked_s, expected_s):
    assert policy.timeout_of(asked_s) == expected_s


@pytest.mark.parametrize(("asked", "expected"), [(1, 1), (2, 2), (0, 2), (3, 2), ("1", 2), (None, 2)])
def test_a_priority_that_is_none_is_the_default_s(asked, expected):
    assert BatchRules(8, priority_levels=2, default_priority=2).priority(asked) == expected


@pytest.mark.parametrize(
    ("graph", "is_merged"),
    [(b"MatMul", True), (b"..DynamicQuantizeLinear..", False), (b"..DynamicQuantizeMatMul..", False), (b"", True)],
    ids=["plain", "linear", "fused", "empty"],
)
def test_the_graphs_are_searched(tmp_path, graph, is_merged):
    archive, configs = archive_of(ENSEMBLE, ONNX, task="sentence-embedding", folder=tmp_path)
    for step in archive.steps:
        (step.directory / "1").mkdir(parents=True)
        (step.directory / "config.pbtxt").write_text(str(configs[step.digest]))
    (tmp_path / "s0" / "1" / "model.onnx").write_bytes(graph)
    assert (read_rules(archive, ()) is not None) == is_merged


def test_files_that_are_gone_merge_nothing():
    archive, _ = archive_of(ENSEMBLE, ONNX, task="sentence-embedding")
    assert read_rules(archive, ()) is None

"""Sentence classifiers without their base inside: kilobytes, and the same steps."""

import numpy as np
import pytest
from click.testing import CliRunner

from builders.cli import build as build_command
from builders.families.sentence_classifier import Head, build
from builders.pipeline.bases import UnusableBase
from server.archive.inspection import inspect
from server.archive.lint import lint
from server.archive.manifest import Manifest, write_manifest
from server.archive.staging import stage_folder
from tests.fakes.repositories import chain_ensemble, onnx_linear, tensor_entry, write_config
from tests.unit.store.store_archives import complete_nothing

pytestmark = pytest.mark.builders

BASE = "bases/base.tar.gz"
LABELS = ("good", "bad")
HEAD = Head(np.ones((3, 2), np.float32), np.zeros(2, np.float32), LABELS)


@pytest.fixture
def base(tmp_path):
    """Tokenizer and encoder under an ensemble, as a sentence-embedding archive has them."""
    root = tmp_path / "base"
    tokenizer = root / "tokenize"
    ends = tensor_entry("INPUT0", "BYTES", (1,)), tensor_entry("OUTPUT0", "FP32", (4,))
    write_config(tokenizer, 'backend: "python"', "max_batch_size: 8", f"input [ {ends[0]} ]", f"output [ {ends[1]} ]")
    (tokenizer / "1").mkdir()
    (tokenizer / "1" / "model.py").write_text("# never run here\n")
    onnx_linear(root / "encoder", features=4, outputs=3, ballast_bytes=1 << 20)
    entry = chain_ensemble(root / "embed", ["tokenize", "encoder"], output_dims=[3]) / "config.pbtxt"
    own_input = tensor_entry("INPUT0", "FP32", (4,))
    entry.write_text(entry.read_text().replace(f"input [ {own_input} ]", f"input [ {ends[0]} ]"))
    write_manifest(Manifest(task="sentence-embedding", entry_model="embed"), root)
    return root


def test_the_head_names_the_steps_that_a_whole_archive_holds(base, tmp_path):
    whole = inspect(build(base, HEAD, "mood", tmp_path / "whole"))
    delta = inspect(build(base, HEAD, "mood", tmp_path / "delta", BASE))
    assert [step.name for step in delta.steps] == ["head", "mood"]
    everything = {step.name: step.digest for step in whole.steps}
    assert {**{s.name: s.digest for s in delta.steps}, **{n.name: n.digest for n in delta.needs}} == everything
    assert {need.archive for need in delta.needs} == {BASE}


def test_it_is_staged_with_the_base_and_is_small(base, tmp_path):
    delta = build(base, HEAD, "mood", tmp_path / "delta", BASE)
    assert sum(path.stat().st_size for path in delta.rglob("*") if path.is_file()) < 8192
    assert lint(delta).problems == ()
    steps = stage_folder(base, "base", "1", tmp_path / "steps", complete_nothing, link=True).steps
    lent = {step.name: step.directory for step in steps if step.name != "embed"}
    staged = stage_folder(delta, "mood", "1", tmp_path / "steps", complete_nothing, link=True, borrowed=lent)
    assert len({step.digest for step in staged.steps} & {step.digest for step in steps}) == 2


def test_a_base_whose_digests_are_not_known_yet_cannot_be_left_out(base, tmp_path):
    config = base / "encoder" / "config.pbtxt"
    config.write_text('backend: "onnxruntime"\nmax_batch_size: 8\n')
    with pytest.raises(UnusableBase, match="'encoder' leaves out inputs"):
        build(base, HEAD, "mood", tmp_path / "delta", BASE)


def test_the_command_has_the_option(base, tmp_path):
    np.savez(tmp_path / "head.npz", weights=HEAD.weights, bias=HEAD.bias)
    named = ["--base", str(base), "--head", str(tmp_path / "head.npz"), "--base-archive", BASE]
    output = ["--labels", "good,bad", "--output", str(tmp_path / "mood.tar.gz")]
    result = CliRunner().invoke(build_command, ["sentence-classifier", *named, *output])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "mood.tar.gz").stat().st_size < 4096

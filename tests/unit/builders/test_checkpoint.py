"""A checkpoint's own files decide; what is missing is named."""

import json

import pytest

from builders.checkpoints.files import UnusableCheckpoint
from builders.checkpoints.sentence_transformers import locate, read


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "my-model"
    (root / "1_Pooling").mkdir(parents=True)
    modules = [{"path": "", "type": "st.Transformer"}, {"path": "1_Pooling", "type": "st.Pooling"}]
    (root / "modules.json").write_text(json.dumps(modules))
    (root / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_cls_token": True})
    )
    (root / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 99}))
    (root / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>", "model_max_length": 512}))
    (root / "tokenizer.json").write_text("{}")
    (root / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    return root


def test_the_files_are_read(folder):
    checkpoint = read(str(folder))
    assert (checkpoint.max_length, checkpoint.pooling, checkpoint.is_normalized) == (99, "cls", False)
    assert (checkpoint.width, checkpoint.pad_token, checkpoint.licence) == (32, "<pad>", "apache-2.0")


@pytest.mark.parametrize("missing", ["modules.json", "tokenizer.json", "1_Pooling/config.json"])
def test_a_missing_file_is_named(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(UnusableCheckpoint, match=missing.rsplit("/", maxsplit=1)[-1]):
        read(str(folder))


def test_a_module_that_this_family_does_not_know_is_named(folder):
    (folder / "modules.json").write_text(
        json.dumps([{"path": "", "type": "st.Transformer"}, {"path": "2", "type": "st.Dense"}])
    )
    with pytest.raises(UnusableCheckpoint, match="Dense"):
        read(str(folder))


def test_two_pooling_modes_at_once_are_refused(folder):
    both = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(both))
    with pytest.raises(UnusableCheckpoint, match="not one of mean, cls, max"):
        read(str(folder))


def test_a_name_that_is_nothing_is_explained():
    with pytest.raises(UnusableCheckpoint, match="neither a folder nor a hub id"):
        locate("no-such-model")

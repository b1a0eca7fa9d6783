"""The demo's int8 archive: batched like the others, and no answer moves with what it was batched with."""

from pathlib import Path

import numpy as np
import pytest

from builders.pipeline.parity import encoder
from builders.pipeline.sentences import texts
from server.archive.manifest import read_manifest
from server.archive.unpack import UnpackLimits, unpack
from server.serving.batch_reading import read_rules
from tests.differential.engines import staged

pytestmark = pytest.mark.builders
ARCHIVE = Path(__file__).resolve().parents[2] / "model_repository" / "archives" / "minilm-int8.tar.gz"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    assert ARCHIVE.is_file(), f"{ARCHIVE.name} is missing: make archives"
    folder = tmp_path_factory.mktemp("int8") / "minilm-int8"
    with ARCHIVE.open("rb") as file:
        unpack(file, folder, UnpackLimits(total_bytes=1 << 30))
    return folder


def test_its_requests_are_merged(root):
    rules = read_rules(staged(root), ())
    assert rules is not None
    assert rules.is_text


def test_a_text_alone_and_among_others_gives_the_same_vector(root):
    encode = encoder(root / "tokenize/1/tokenizer.json", root / "encoder/1/model.onnx", None)
    sample = texts(24)
    together = encode(sample)
    alone = np.concatenate([encode([text]) for text in sample])
    assert np.abs(together - alone).max() < 1e-4


def test_it_says_what_its_precision_costs(root):
    figures = read_manifest(root).parity["beside_fp32"]
    assert figures["texts"] == 1000
    assert 0.99 < figures["min_cosine"] <= figures["mean_cosine"] < 1

"""A real build for a GPU host, of a checkpoint with the real architecture and few layers.

It runs nowhere here; what can be read off it is read: configs against graphs, profiles, operators, digests.
"""

import json

import click
import onnx
import pytest

from builders.compile.gpu import Gpu
from builders.compile.repack import recompile
from builders.compile.tensorrt_plan import PlanOptions, build_plan
from builders.families import (
    image_classification,
    segment_anything,
    sentence_embedding,
    text_classification,
    zero_shot_classification,
)
from builders.families.sentence_embedding import Options
from builders.pipeline.classifier_step import Compute
from builders.pipeline.extras import MissingExtra
from builders.triton_config.agreement import check_archive
from server.archive.inspection import inspect
from server.archive.manifest import read_manifest
from server.archive.model_config import parse
from tests.fakes.tensorrt_11 import FakeTensorRT

pytestmark = pytest.mark.builders
WIDTH = 32
SENTENCE_TRANSFORMERS = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True},
    "sentence_bert_config.json": {"max_seq_length": 48, "do_lower_case": False},
}
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "quick",
    "brown",
    "fox",
    "word",
    "a",
    "models",
    "one",
    "gpu",
    "host",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A BERT of two layers with seeded weights, laid out as sentence-transformers does."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    root = tmp_path_factory.mktemp("checkpoint") / "tiny"
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **sizes)
    transformers.BertModel(config).save_pretrained(root)
    vocabulary = {word: index for index, word in enumerate(WORDS)}
    transformers.BertTokenizerFast(vocab=vocabulary, model_max_length=64).save_pretrained(root)
    (root / "1_Pooling").mkdir()
    for file, content in SENTENCE_TRANSFORMERS.items():
        (root / file).write_text(json.dumps(content))
    return root


def build(checkpoint, to, **choices):
    options = Options(model=str(checkpoint), name="tiny", target="gpu", max_batch_size=16, is_measured=False, **choices)
    return sentence_embedding.build(options, to)


@pytest.fixture(scope="module")
def half_archive(checkpoint, tmp_path_factory):
    to = tmp_path_factory.mktemp("built") / "tiny-fp16"
    return build(checkpoint, to, precision="fp16", accelerator="onnxruntime-tensorrt")


def encoder_config(archive):
    return parse((archive / "encoder" / "config.pbtxt").read_text())


def test_a_half_precision_archive_for_tensorrt_in_onnx_runtime(half_archive):
    assert check_archive(half_archive) == ["encoder"]
    config = encoder_config(half_archive)
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.parameters["trt_profile_max_shapes"].startswith("input_ids:16x48,attention_mask:16x48")
    assert len(accelerator.parameters["trt_engine_cache_prefix"]) == 16
    assert [sample.batch_size for sample in config.model_warmup] == [1, 8]
    manifest = read_manifest(half_archive)
    assert manifest.parity["min_cosine"] > 0.999
    assert manifest.steps["encoder"]["profile"]["input_ids"] == {"min": [1, 1], "opt": [8, 48], "max": [16, 48]}
    assert not manifest.footprint("encoder").bytes_by_device
    assert manifest.provenance["options"]["accelerator"] == "onnxruntime-tensorrt"


@pytest.fixture(scope="module")
def single(checkpoint, tmp_path_factory):
    return build(checkpoint, tmp_path_factory.mktemp("built") / "tiny-fp32", accelerator="onnxruntime-tensorrt")


def test_the_graph_has_only_standard_operators(single, half_archive):
    """TensorRT and ONNX Runtime's CUDA provider know them; the CPU's own fusions would be a wall for both."""
    assert check_archive(single) == ["encoder"]
    assert read_manifest(single).parity["max_abs_error"] < 1e-4
    for archive in (half_archive, single):
        graph = onnx.load(str(archive / "encoder" / "1" / "model.onnx"), load_external_data=False).graph
        assert {node.domain for node in graph.node} <= {"", "ai.onnx"}


def test_the_same_build_gives_the_same_steps(checkpoint, half_archive, tmp_path):
    again = build(checkpoint, tmp_path / "again", precision="fp16", accelerator="onnxruntime-tensorrt")
    digests = [[step.digest for step in inspect(archive).steps] for archive in (half_archive, again)]
    assert digests[0] == digests[1]


def test_other_weights_get_another_engine_cache(single, half_archive):
    """Two checkpoints of one architecture must never meet in one cached engine."""
    prefixes = {
        encoder_config(archive)
        .optimization.execution_accelerators.gpu_execution_accelerator[0]
        .parameters["trt_engine_cache_prefix"]
        for archive in (half_archive, single)
    }
    assert len(prefixes) == 2


def test_the_archive_becomes_plans_on_the_gpu_host(half_archive, tmp_path):
    def compile_graph(graph, to, profile, options):
        return build_plan(graph, to, profile, options, trt=FakeTensorRT(), gpu=Gpu("NVIDIA L4", "8.9"))

    done = recompile(half_archive, tmp_path / "tiny-plan", PlanOptions(), compile_graph)
    assert check_archive(done) == []
    facts = {step.name: step for step in inspect(done).steps}
    assert facts["encoder"].backend == "tensorrt"
    plan = json.loads((done / "encoder" / "1" / "model.plan").read_text())
    assert plan["strongly_typed"] is True
    assert plan["profiles"][0]["attention_mask"] == [[1, 1], [8, 48], [16, 48]]
    assert set(plan["inputs"]) == {"input_ids", "attention_mask", "token_type_ids"}
    kept = {step.name: step.digest for step in inspect(half_archive).steps}
    assert facts["tokenize"].digest == kept["tokenize"]


def test_a_host_without_tensorrt_is_told_before_a_build_begins(tmp_path):
    with pytest.raises(MissingExtra, match="inside the container"):
        build("a-model-that-nobody-reads", tmp_path / "tiny-plan", accelerator="tensorrt")
    assert not list(tmp_path.iterdir())


ON_GPU = Compute(target="gpu", accelerator="tensorrt")


@pytest.mark.parametrize(
    ("family", "options"),
    [
        (image_classification, image_classification.Options(target="gpu", accelerator="tensorrt")),
        (segment_anything, segment_anything.Options(target="gpu", accelerator="tensorrt")),
        (text_classification, text_classification.Options(compute=ON_GPU)),
        (zero_shot_classification, zero_shot_classification.Options(compute=ON_GPU)),
    ],
)
def test_every_family_tells_so(family, options, tmp_path):
    with pytest.raises(MissingExtra, match="inside the container"):
        family.build(options, tmp_path / "x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "choices",
    [
        {"precision": "int8", "target": "gpu"},
        {"precision": "fp16"},
        {"accelerator": "tensorrt"},
    ],
)
def test_what_does_not_go_together_is_refused_at_once(choices, tmp_path):
    with pytest.raises(click.UsageError):
        sentence_embedding.build(Options(model="nowhere", **choices), tmp_path / "x")

"""What is refused, and what runs where."""

import pytest

from server.archive.model_config import parse
from server.domain.errors import InvalidArchive, UnsupportedModel
from server.engines.embedded.config.devices import Hardware, place
from server.engines.embedded.config.features import require_supported
from server.engines.embedded.config.versions import model_file, version_folder

BACKENDS = {"onnxruntime": None, "python": None, "ensemble": None}
ONNX = 'name: "m" backend: "onnxruntime" '
GPU = Hardware(("CUDAExecutionProvider", "CPUExecutionProvider"), gpus=2)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ('name: "m" platform: "tensorrt_plan"', ["'tensorrt'", "--engine triton"]),
        ('name: "m" backend: "vllm"', ["'vllm'", "--engine triton"]),
        (ONNX + "sequence_batching { }", ["sequence_batching", "--engine triton"]),
        (
            'name: "m" backend: "python" response_cache { enable: true } model_transaction_policy { decoupled: true }',
            ["response_cache", "decoupled"],
        ),
        (ONNX + 'model_operations { op_library_filename: "x.so" }', ["custom operators"]),
        (ONNX + "model_transaction_policy { decoupled: true }", ["decoupled"]),
        (ONNX + "instance_group { kind: KIND_MODEL }", ["KIND_MODEL"]),
        (ONNX + 'input { name: "a" data_type: TYPE_BF16 dims: 1 }', ["'a'", "BF16", "FP16"]),
        (ONNX + 'input { name: "a" data_type: TYPE_FP32 dims: 1 allow_ragged_batch: true }', ["ragged"]),
        (ONNX + 'input { name: "a" data_type: TYPE_INT32 dims: 1 is_shape_tensor: true }', ["shape tensors"]),
    ],
)
def test_a_refusal_names_the_feature_and_what_to_do(config, words):
    with pytest.raises(UnsupportedModel) as caught:
        require_supported(parse(config), BACKENDS)
    assert all(word in str(caught.value) for word in ["'m'", *words])


RAGGED = 'name: "m" backend: "python" input { name: "a" data_type: TYPE_UINT8 dims: -1 allow_ragged_batch: true }'


@pytest.mark.parametrize("config", [RAGGED, ONNX + "dynamic_batching { }", ONNX + "response_cache { enable: true }"])
def test_what_changes_only_the_time_is_accepted(config):
    assert require_supported(parse(config), BACKENDS) is None


@pytest.mark.parametrize(
    ("config", "hardware", "device"),
    [
        (ONNX, Hardware(), "cpu"),
        (ONNX, GPU, "gpu:0"),
        (ONNX, Hardware(GPU.providers, gpus=0), "cpu"),
        (ONNX + "instance_group { kind: KIND_CPU }", GPU, "cpu"),
        (ONNX + "instance_group { kind: KIND_AUTO gpus: [1] }", GPU, "gpu:1"),
        (ONNX + "instance_group { kind: KIND_GPU gpus: [1] }", GPU, "gpu:1"),
        ('backend: "python"', GPU, "cpu"),
        ('backend: "python" instance_group { kind: KIND_GPU }', GPU, "gpu:0"),
        ('platform: "ensemble"', GPU, "cpu"),
    ],
)
def test_instance_groups_choose_the_device(config, hardware, device):
    parsed = parse(config)
    assert place(parsed, parsed.backend or parsed.platform, hardware) == device


def test_a_gpu_that_is_not_there_is_refused_with_advice():
    with pytest.raises(UnsupportedModel, match=r"KIND_GPU.*KIND_CPU or KIND_AUTO"):
        place(parse(ONNX + "instance_group { kind: KIND_GPU }"), "onnxruntime", Hardware())


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("", "10"), ("version_policy { specific { versions: [2, 9] } }", "9"), ("version_policy { all { } }", "10")],
)
def test_the_newest_version_that_the_policy_allows_is_served(tmp_path, policy, expected):
    for version in ("2", "9", "10", "configs"):
        (tmp_path / version).mkdir()
    assert version_folder(tmp_path, parse(policy)).name == expected


def test_without_a_version_folder_there_is_no_model(tmp_path):
    with pytest.raises(InvalidArchive, match="no version folder"):
        version_folder(tmp_path, parse(ONNX))


@pytest.mark.parametrize("name", ["../../secret.onnx", "other.onnx"])
def test_the_model_file_must_be_there_and_inside(tmp_path, name):
    (tmp_path / "1").mkdir()
    with pytest.raises(InvalidArchive, match=r"outside|no file"):
        model_file(tmp_path, parse(f'{ONNX} default_model_filename: "{name}"'), "model.onnx")

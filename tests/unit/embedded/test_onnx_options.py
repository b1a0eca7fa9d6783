"""From a config to ONNX Runtime's options, and from its errors to ours."""

from pathlib import Path

import onnxruntime as ort
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from server.archive.model_config import parse
from server.domain.errors import (
    DeviceFull,
    InferenceFailed,
    InvalidArchive,
    InvalidRequest,
    LoadFailed,
    UnsupportedModel,
)
from server.domain.model import ModelSignature, Step, StepDigest
from server.engines.embedded.backends.onnx_errors import load_error, run_error
from server.engines.embedded.backends.onnx_options import providers, session_options
from server.engines.embedded.config.devices import Hardware

STEP = Step(StepDigest("d"), "encoder", "onnxruntime", Path("/srv/steps/d"), ModelSignature("", 0, (), ()))
GPU = Hardware(("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"), gpus=1)


def parameter(key, value):
    return f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}'


def accelerator(kind, name, **parameters):
    written = " ".join(f'parameters {{ key: "{key}" value: "{value}" }}' for key, value in parameters.items())
    return parse(f'optimization {{ execution_accelerators {{ {kind} {{ name: "{name}" {written} }} }} }}')


def test_defaults_are_the_servers_threads_without_spinning_or_arena():
    options = session_options(parse(""), threads=6)
    assert options.intra_op_num_threads == 6
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_cpu_mem_arena
    assert options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL


def test_parameters_are_read_as_tritons_backend_reads_them():
    pairs = {
        "intra_op_thread_count": "3",
        "inter_op_thread_count": "2",
        "execution_mode": "1",
        "enable_mem_arena": "1",
        "session.disable_prepacking": "1",
    }
    options = session_options(parse(" ".join(parameter(*pair) for pair in pairs.items())), threads=6)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
    assert options.execution_mode == ort.ExecutionMode.ORT_PARALLEL
    assert options.enable_cpu_mem_arena
    assert options.get_session_config_entry("session.disable_prepacking") == "1"


@pytest.mark.parametrize(
    ("level", "name"), [(-1, "ORT_ENABLE_BASIC"), (1, "ORT_ENABLE_EXTENDED"), (2, "ORT_DISABLE_ALL")]
)
def test_graph_levels(level, name):
    options = session_options(parse(f"optimization {{ graph {{ level: {level} }} }}"), threads=6)
    assert options.graph_optimization_level == getattr(ort.GraphOptimizationLevel, name)


@pytest.mark.parametrize("config", [parameter("intra_op_thread_count", "many"), "optimization { graph { level: 7 } }"])
def test_values_that_mean_nothing_are_refused(config):
    with pytest.raises(InvalidArchive):
        session_options(parse(config), threads=6)


def test_on_the_cpu_there_is_one_provider():
    assert providers(parse(""), "cpu", GPU) == [("CPUExecutionProvider", {})]


def test_on_a_gpu_cuda_comes_before_the_cpu():
    (name, options), last = providers(parse(parameter("gpu_mem_limit", "100")), "gpu:1", GPU)
    assert (name, last[0]) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert options == {"device_id": "1", "arena_extend_strategy": "kSameAsRequested", "gpu_mem_limit": "100"}


def test_tensorrt_comes_first_with_its_own_names_for_options():
    config = accelerator("gpu_execution_accelerator", "tensorrt", precision_mode="FP16", max_workspace_size_bytes="5")
    name, options = providers(config, "gpu:0", GPU)[0]
    assert name == "TensorrtExecutionProvider"
    assert options == {"device_id": "0", "trt_fp16_enable": "1", "trt_max_workspace_size": "5"}


@pytest.mark.parametrize(
    ("kind", "device", "name"),
    [("gpu_execution_accelerator", "gpu:0", "auto_io"), ("cpu_execution_accelerator", "cpu", "openvino")],
)
def test_an_accelerator_that_is_not_here_is_refused(kind, device, name):
    with pytest.raises(UnsupportedModel, match=name):
        providers(accelerator(kind, name), device, GPU)


@pytest.mark.parametrize(
    "message",
    [
        "CUDA failure 2: out of memory ; GPU=0",
        "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 8",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "std::bad_alloc",
    ],
)
def test_a_full_device_is_told_from_other_failures(message):
    assert isinstance(load_error(STEP, "gpu:0", RuntimeError(message)), DeviceFull)
    assert isinstance(run_error(STEP, "gpu:0", RuntimeError(message)), DeviceFull)


def test_other_failures_keep_their_message_but_not_the_hosts_paths():
    error = load_error(STEP, "cpu", RuntimeError("Load model from /srv/steps/d/1/model.onnx failed:\n broken"))
    assert isinstance(error, LoadFailed)
    assert "Load model from 1/model.onnx failed: broken" in str(error)


@pytest.mark.parametrize(
    ("raised", "expected"), [(InvalidArgument("shape"), InvalidRequest), (RuntimeError("x"), InferenceFailed)]
)
def test_wrong_inputs_are_the_callers_fault(raised, expected):
    assert isinstance(run_error(STEP, "cpu", raised), expected)

"""The whole compile script against a fake TensorRT that knows 11.4's names and no others."""

import json

import click
import pytest

from builders.compile.gpu import Gpu, NoUsableGpu, the_gpu
from builders.compile.tensorrt_plan import PlanFailed, PlanOptions, build_plan, need_tensorrt
from builders.pipeline.extras import MissingExtra
from builders.triton_config.profile import InputRange
from tests.fakes.repositories import onnx_linear
from tests.fakes.tensorrt_11 import FakeTensorRT

H100 = Gpu("NVIDIA H100 80GB HBM3", "9.0")
PROFILE = {"INPUT0": InputRange((1, 4), (8, 4), (64, 4))}


@pytest.fixture
def graph(tmp_path):
    return onnx_linear(tmp_path / "linear") / "1" / "model.onnx"


def told(plan):
    return json.loads(plan.read_text())


def test_a_plan_is_strongly_typed_and_has_the_profile(graph, tmp_path):
    facts = build_plan(graph, tmp_path / "model.plan", PROFILE, trt=FakeTensorRT(), gpu=H100)
    plan = told(tmp_path / "model.plan")
    assert plan["strongly_typed"] is True
    assert plan["profiles"] == [{"INPUT0": [[1, 4], [8, 4], [64, 4]]}]
    assert plan["limits"] == {"WORKSPACE": 4 << 30}
    assert (plan["flags"], plan["hardware"]) == ([], "NONE")
    assert (facts.version, facts.compute_capability, facts.gpu) == ("11.4.0.106", "9.0", H100.name)
    assert (facts.hardware, facts.version_compatible) == ("none", "false")


def test_compatibility_is_asked_for_by_flag_and_level(graph, tmp_path):
    options = PlanOptions(workspace_bytes=1 << 20, is_version_compatible=True, hardware="same_compute_capability")
    facts = build_plan(graph, tmp_path / "model.plan", PROFILE, options, trt=FakeTensorRT(), gpu=H100)
    plan = told(tmp_path / "model.plan")
    assert (plan["flags"], plan["hardware"]) == (["VERSION_COMPATIBLE"], "SAME_COMPUTE_CAPABILITY")
    assert plan["limits"] == {"WORKSPACE": 1 << 20}
    assert (facts.hardware, facts.version_compatible) == ("same_compute_capability", "true")


def test_timings_are_kept_and_used_again(graph, tmp_path):
    options = PlanOptions(timing_cache=tmp_path / "caches" / "h100.cache")
    for _ in range(2):
        build_plan(graph, tmp_path / "model.plan", PROFILE, options, trt=FakeTensorRT(), gpu=H100)
    assert options.timing_cache.read_bytes() == b"timings of 11.4.0.106\n" + 2 * b"one more build\n"


def test_timings_of_another_tensorrt_are_replaced(graph, tmp_path):
    options = PlanOptions(timing_cache=tmp_path / "old.cache")
    options.timing_cache.write_bytes(b"timings of 10.0\n")
    build_plan(graph, tmp_path / "model.plan", PROFILE, options, trt=FakeTensorRT(), gpu=H100)
    assert options.timing_cache.read_bytes() == b"timings of 11.4.0.106\none more build\n"


def test_what_the_parser_says_is_told(graph, tmp_path):
    reasons = ["In node 3 with name: /Loop and operator: Loop: UNSUPPORTED_NODE", "In node 9: INVALID_GRAPH"]
    with pytest.raises(PlanFailed, match=r"(?s)cannot parse model.onnx.*node 3.*UNSUPPORTED_NODE.*node 9"):
        build_plan(graph, tmp_path / "p", PROFILE, trt=FakeTensorRT(parser_errors=reasons), gpu=H100)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("profile", "knobs", "message"),
    [
        ({}, {}, "made no plan"),
        (PROFILE, {"makes_plans": False}, "made no plan"),
        (PROFILE, {"refuses_profiles": True}, "refuses the profile"),
        ({"INPUT0": InputRange((1, 5), (8, 5), (64, 5))}, {}, "made no plan"),
        ({"INPUT0": InputRange((9, 4), (8, 4), (64, 4))}, {}, "profile of input 'INPUT0'"),
    ],
)
def test_what_does_not_work_is_told(graph, tmp_path, profile, knobs, message):
    with pytest.raises(PlanFailed, match=message):
        build_plan(graph, tmp_path / "p", profile, trt=FakeTensorRT(**knobs), gpu=H100)


def test_a_missing_tensorrt_says_what_to_do():
    with pytest.raises(MissingExtra, match=r"inside the container.*pip install tensorrt-cu13"):
        need_tensorrt()


@pytest.mark.parametrize("name", ["build_engine", "Weights", "ICudaEngine", "IInt8Calibrator"])
def test_the_fake_refuses_what_builders_may_not_use(name):
    trt = FakeTensorRT()
    with pytest.raises(AttributeError, match=name):
        getattr(trt, name)


def test_the_fake_refuses_what_11_dropped():
    trt = FakeTensorRT()
    for owner, name in (
        (trt.BuilderFlag, "FP16"),
        (trt.BuilderFlag, "INT8"),
        (trt.BuilderFlag, "OBEY_PRECISION_CONSTRAINTS"),
        (trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"),
    ):
        assert not hasattr(owner, name), name
    builder = trt.Builder(trt.Logger())
    assert not hasattr(builder, "platform_has_fast_fp16")
    with pytest.raises(AttributeError, match="max_workspace_size"):
        builder.create_builder_config().max_workspace_size = 1
    with pytest.raises(AssertionError, match="nothing was parsed"):
        builder.build_serialized_network(builder.create_network(0), builder.create_builder_config())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [("", "shows none"), ("NVIDIA L4, 8.9\nNVIDIA T4, 7.5\n", r"several kinds.*L4 \(8.9\), NVIDIA T4 \(7.5\)")],
)
def test_a_host_without_one_kind_of_gpu_cannot_compile(answer, problem):
    with pytest.raises(NoUsableGpu, match=problem):
        the_gpu(lambda: answer)


def test_two_equal_gpus_are_one_kind():
    assert the_gpu(lambda: "NVIDIA A10G, 8.6\nNVIDIA A10G, 8.6\n") == Gpu("NVIDIA A10G", "8.6")


def test_failures_are_shown_by_the_command_line_as_text():
    assert all(issubclass(error, click.ClickException) for error in (PlanFailed, NoUsableGpu, MissingExtra))

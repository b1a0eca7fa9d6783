"""What GPU builds write, reviewed as text; and the pure choices behind it."""

import click
import pytest

from builders.triton_config import accelerated
from builders.triton_config import model as triton
from builders.triton_config.agreement import parsed
from builders.triton_config.profile import Range, as_facts, from_facts, profile_of
from server.archive.plan_facts import PlanFacts, plan_facts
from tests.golden.golden import check

IDS = [triton.Field("input_ids", "TYPE_INT64", (-1,)), triton.Field("attention_mask", "TYPE_INT64", (-1,))]
VECTOR = [triton.Field("OUTPUT0", "TYPE_FP32", (384,))]
TOKENS = Range(1, 64, 256)
FACTS = PlanFacts("11.4.0.106", "9.0", "NVIDIA H100 80GB HBM3")


def profile():
    return profile_of(IDS, 64, {field.name: [TOKENS] for field in IDS})


def config(accelerator, target="gpu"):
    return accelerated.graph_config(
        name="encoder",
        inputs=IDS,
        outputs=VECTOR,
        max_batch_size=64,
        where=accelerated.placement(target, accelerator),
        profile=profile() if target == "gpu" else {},
        cache_key="0123456789abcdef",
        graph_level=-1,
    )


@pytest.mark.parametrize("accelerator", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_the_onnx_step_of_an_accelerator_is_golden(accelerator):
    written = accelerated.with_profile_warmup(config(accelerator), profile())
    check(f"gpu_{accelerator}.config.pbtxt", triton.text(written))
    assert parsed(triton.text(written)) == written


def test_the_plan_step_is_golden():
    graph = accelerated.with_profile_warmup(config("tensorrt"), profile())
    plan = accelerated.plan_config(graph, FACTS.as_parameters())
    check("gpu_tensorrt.config.pbtxt", triton.text(plan))
    assert (plan_facts(plan), plan_facts(graph)) == (FACTS, None)
    assert list(plan.input) == list(graph.input)


def test_on_a_cpu_nothing_changes():
    plain = triton.step_config(
        name="encoder", backend="onnxruntime", inputs=IDS, outputs=VECTOR, max_batch_size=64, graph_level=-1
    )
    assert config(None, "cpu") == plain


def test_a_gpu_without_a_word_about_the_accelerator_uses_cuda():
    assert accelerated.placement("gpu") == accelerated.Placement("gpu", "onnxruntime-cuda")
    assert not accelerated.placement("gpu").is_plan
    assert accelerated.placement("gpu", "tensorrt").is_plan


def test_an_accelerator_needs_a_gpu():
    with pytest.raises(click.UsageError, match="--accelerator tensorrt needs --target gpu"):
        accelerated.placement("cpu", "tensorrt")
    with pytest.raises(click.UsageError, match="fp16 needs --target gpu"):
        accelerated.placement("cpu", None, "fp16")
    with pytest.raises(click.UsageError, match="int8 is for CPUs"):
        accelerated.placement("gpu", "tensorrt", "int8")


def test_an_engine_cache_needs_a_key_of_the_content():
    with pytest.raises(ValueError, match="mix up equal architectures"):
        accelerated.with_tensorrt_provider(config("onnxruntime-cuda"), profile(), "")


def test_profiles_cover_batch_dynamic_and_fixed_axes():
    image = [triton.Field("IMAGE", "TYPE_FP32", (3, -1, -1)), triton.Field("STEP", "TYPE_FP32", (1,))]
    sides = [Range(8, 64, 128), Range(8, 64, 96)]
    found = profile_of(image, 4, {"IMAGE": sides})
    assert (found["IMAGE"].least, found["IMAGE"].best, found["IMAGE"].most) == (
        (1, 3, 8, 8),
        (4, 3, 64, 64),
        (4, 3, 128, 96),
    )
    assert found["STEP"].most == (4, 1)
    unbatched = profile_of(image, 0, {"IMAGE": sides})
    assert unbatched["IMAGE"].most == (3, 128, 96)
    assert "STEP" not in unbatched
    assert from_facts(as_facts(found)) == found
    warm = accelerated.with_profile_warmup(
        triton.step_config(name="s", backend="onnxruntime", inputs=image, outputs=VECTOR, max_batch_size=0), unbatched
    )
    assert [sample.batch_size for sample in warm.model_warmup] == [0, 0]
    assert [list(sample.inputs["IMAGE"].dims) for sample in warm.model_warmup] == [[3, 8, 8], [3, 64, 64]]
    assert [list(sample.inputs["STEP"].dims) for sample in warm.model_warmup] == [[1], [1]]


def test_a_profile_must_name_each_dynamic_axis():
    with pytest.raises(ValueError, match="'attention_mask' has 1 dynamic axes, and 0 ranges"):
        profile_of(IDS, 8, {"input_ids": [TOKENS]})
    with pytest.raises(ValueError, match="least <= best <= most"):
        Range(1, 300, 256)
    with pytest.raises(ValueError, match="must map inputs"):
        from_facts({"input_ids": {"min": [1]}})

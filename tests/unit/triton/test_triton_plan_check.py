"""A plan that was compiled for another host is refused with the cause and the cure."""

import pytest

from server.archive.plan_facts import PlanFacts
from server.domain.clock import SystemClock
from server.domain.errors import UnsupportedModel
from server.domain.model import NOTHING, ModelSignature, Step
from server.engines.devices import Gpu, gpus
from server.engines.triton.loading.loading import Loading
from server.engines.triton.loading.plan_check import PlanCheck, misfit
from server.engines.triton.loading.plan_host import PlanHost, look_around
from server.engines.triton.loading.residents import Residents
from server.engines.triton.options import TritonOptions

H100 = Gpu(80 << 30, "9.0", "NVIDIA H100")
A10G, T4 = Gpu(24 << 30, "8.6", "NVIDIA A10G"), Gpu(16 << 30, "7.5", "Tesla T4")
PLAN = PlanFacts("11.4.0.106", "9.0", "NVIDIA H100")


def changed(**facts):
    return PlanFacts(**{**PLAN.as_facts(), **facts})


@pytest.mark.parametrize(
    ("plan", "gpus", "tensorrt", "problem"),
    [
        (PLAN, [H100], "11.4.0.106", ""),
        (PLAN, [H100, H100], "11.4.0", ""),
        (PLAN, [H100], "", ""),
        (PLAN, [], "11.4.0", "for a NVIDIA H100, and this host has no GPU"),
        (PLAN, [A10G], "11.4.0", "for compute capability 9.0 (NVIDIA H100), and this host's NVIDIA A10G has 8.6"),
        (PLAN, [H100, T4], "11.4.0", "for compute capability 9.0 (NVIDIA H100), and this host's Tesla T4 has 7.5"),
        (PLAN, [H100], "11.4.1", "of TensorRT 11.4.0.106, and this host has TensorRT 11.4.1"),
        (PLAN, [H100], "10.16.0", "of TensorRT 11.4.0.106, and this host has TensorRT 10.16.0"),
        (changed(version_compatible="true"), [H100], "11.6.2", ""),
        (
            changed(version_compatible="true"),
            [H100],
            "11.3.0",
            "of TensorRT 11.4.0.106, and this host has TensorRT 11.3.0",
        ),
        (
            changed(version_compatible="true"),
            [H100],
            "12.0.0",
            "of TensorRT 11.4.0.106, and this host has TensorRT 12.0.0",
        ),
        (changed(hardware="ampere_plus"), [A10G], "11.4.0", ""),
        (
            changed(hardware="ampere_plus"),
            [T4],
            "",
            "for compute capability Ampere or later (NVIDIA H100), and this host's Tesla T4 has 7.5",
        ),
        (
            changed(hardware="same_compute_capability"),
            [A10G],
            "",
            "for compute capability 9.0 (NVIDIA H100), and this host's NVIDIA A10G has 8.6",
        ),
    ],
)
def test_what_fits_and_what_does_not(plan, gpus, tensorrt, problem):
    assert misfit(plan, gpus, tensorrt) == problem


def step(folder, facts=None, backend="tensorrt", gpus=""):
    folder.mkdir(exist_ok=True)
    parameters = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in (facts.as_parameters() if facts else {}).items()
    )
    (folder / "config.pbtxt").write_text(
        f'platform: "tensorrt_plan"\ninstance_group {{ kind: KIND_GPU gpus: [{gpus}] }}\n{parameters}'
    )
    return Step("a" * 64, "encoder", backend, folder, ModelSignature(backend, 0, (), ()))


def test_a_refusal_names_the_step_and_the_cure(tmp_path):
    check = PlanCheck(lambda: PlanHost((T4,), "11.4.0"))
    with pytest.raises(
        UnsupportedModel, match=r"step 'encoder' is a TensorRT plan for compute.*roundhouse build plans"
    ):
        check(step(tmp_path, PLAN))


def test_other_steps_and_foreign_plans_pass_without_a_look(tmp_path):
    def look():
        raise AssertionError("nobody asked")

    check = PlanCheck(look)
    check(step(tmp_path, PLAN, backend="onnxruntime"))
    check(step(tmp_path, None))
    with pytest.raises(AssertionError, match="nobody asked"):
        check(step(tmp_path, PLAN))


def test_only_the_named_gpus_count_and_the_host_is_asked_once(tmp_path):
    looks = []

    def look():
        looks.append(1)
        return PlanHost((T4, H100), "11.4.0")

    check = PlanCheck(look)
    check(step(tmp_path, PLAN, gpus="1"))
    with pytest.raises(UnsupportedModel, match="Tesla T4"):
        check(step(tmp_path, PLAN, gpus="0"))
    with pytest.raises(UnsupportedModel, match="Tesla T4"):
        check(step(tmp_path, PLAN))
    assert len(looks) == 1


def test_the_host_is_read_from_cuda_s_driver_and_the_library(tmp_path):
    (tmp_path / "libnvinfer.so.11.4.0").touch()
    (tmp_path / "libnvinfer.so.11").symlink_to("libnvinfer.so.11.4.0")
    (tmp_path / "libnvinfer_plugin.so.11.9.9").touch()
    answer = f"{H100.memory_bytes},9.0,NVIDIA H100\n{A10G.memory_bytes},8.6,NVIDIA A10G\n"
    host = look_around(lambda: gpus(lambda: answer), (tmp_path / "absent", tmp_path))
    assert host == PlanHost((H100, A10G), "11.4.0")
    assert look_around(list, ()) == PlanHost()


async def test_a_load_asks_before_triton_is_asked(tmp_path):
    loading = Loading(
        Residents(), TritonOptions(tmp_path), SystemClock(), (), PlanCheck(lambda: PlanHost((A10G,), "11.4.0"))
    )
    with pytest.raises(UnsupportedModel, match="A10G"):
        await loading.load(None, step(tmp_path, PLAN), NOTHING)

"""A finished GPU archive becomes one with plans, where there is neither torch nor onnx."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from builders.compile.archive_plans import NothingToCompile, compile_steps
from builders.compile.gpu import Gpu
from builders.compile.repack import recompile
from builders.compile.tensorrt_plan import PlanFailed, PlanOptions, build_plan
from builders.pipeline.folder import finish
from builders.triton_config import accelerated
from builders.triton_config import model as triton
from builders.triton_config.profile import as_facts, profile_of
from server.archive.inspection import inspect
from server.archive.manifest import Manifest, read_manifest
from server.archive.model_config import parse, signature
from server.archive.plan_facts import plan_facts
from server.archive.unpack import unpack
from tests.fakes.repositories import onnx_linear
from tests.fakes.tensorrt_11 import FakeTensorRT

INPUTS = [triton.Field("INPUT0", "TYPE_FP32", (4,))]
OUTPUTS = [triton.Field("OUTPUT0", "TYPE_FP32", (2,))]
PROFILE = profile_of(INPUTS, 16, {})


def compiler(**knobs):
    def compile_graph(graph, to, profile, options):
        return build_plan(graph, to, profile, options, trt=FakeTensorRT(**knobs), gpu=Gpu("NVIDIA L4", "8.9"))

    return compile_graph


@pytest.fixture
def archive(tmp_path):
    """A folder with one ONNX step for a GPU, and its manifest."""
    root = tmp_path / "work"
    onnx_linear(root / "linear", features=4, outputs=2, ballast_bytes=4096)
    config = accelerated.graph_config(
        name="linear",
        inputs=INPUTS,
        outputs=OUTPUTS,
        max_batch_size=16,
        where=accelerated.placement("gpu", "onnxruntime-tensorrt"),
        profile=PROFILE,
        cache_key="1" * 16,
    )
    (root / "linear" / "config.pbtxt").write_text(triton.text(config))
    facts = {"profile": as_facts(PROFILE), "footprint_bytes": {"gpu:0": 5}, "note": "kept"}
    manifest = Manifest(task="numbers", entry_model="linear", steps={"linear": facts})
    return finish(root, manifest, tmp_path / "linear-gpu")


def test_the_graph_gives_way_to_the_plan(archive, tmp_path):
    done = recompile(archive, tmp_path / "out" / "linear-plan.tar.gz", PlanOptions(), compiler())
    with done.open("rb") as file:
        unpack(file, tmp_path / "seen")
    step = tmp_path / "seen" / "linear"
    assert [path.name for path in (step / "1").iterdir()] == ["model.plan"]
    assert json.loads((step / "1" / "model.plan").read_text())["profiles"] == [{"INPUT0": [[1, 4], [8, 4], [16, 4]]}]
    config = parse((step / "config.pbtxt").read_text())
    assert (config.platform, config.backend, config.max_batch_size) == ("tensorrt_plan", "", 16)
    assert not config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (
        signature(config, step).inputs == signature(parse((archive / "linear/config.pbtxt").read_text()), step).inputs
    )
    facts = plan_facts(config)
    assert (facts.gpu, facts.compute_capability, facts.version) == ("NVIDIA L4", "8.9", "11.4.0.106")
    manifest = read_manifest(tmp_path / "seen")
    assert manifest.steps["linear"]["tensorrt"] == facts.as_facts()
    assert manifest.steps["linear"]["note"] == "kept"
    assert not manifest.footprint("linear").bytes_by_device
    assert inspect(tmp_path / "seen").steps[-1].backend == "tensorrt"
    assert (archive / "linear/1/model.onnx").is_file()


def test_an_archive_can_be_compiled_in_place(archive):
    assert recompile(archive, archive, PlanOptions(), compiler()) == archive
    assert [path.name for path in (archive / "linear" / "1").iterdir()] == ["model.plan"]
    with pytest.raises(NothingToCompile, match="build it with --target gpu"):
        recompile(archive, archive, PlanOptions(), compiler())


def test_a_failure_leaves_the_archive_as_it_was(archive, tmp_path):
    before = sorted(path.relative_to(archive) for path in archive.rglob("*"))
    with pytest.raises(PlanFailed, match="INVALID_NODE"):
        recompile(archive, archive, PlanOptions(), compiler(parser_errors=["In node 0: INVALID_NODE"]))
    assert sorted(path.relative_to(archive) for path in archive.rglob("*")) == before
    assert not list(tmp_path.glob(".build-*"))


def test_another_gpu_or_version_makes_another_step(archive, tmp_path):
    here = recompile(archive, tmp_path / "a", PlanOptions(), compiler())
    same = recompile(archive, tmp_path / "b", PlanOptions(), compiler())
    later = recompile(archive, tmp_path / "c", PlanOptions(), compiler(version="11.5.0.1"))
    digests = [inspect(folder).steps[-1].digest for folder in (here, same, later)]
    assert digests[0] == digests[1] != digests[2]


def test_only_onnx_steps_become_plans(archive):
    manifest = read_manifest(archive)
    config = archive / "linear" / "config.pbtxt"
    config.write_text(config.read_text().replace('backend: "onnxruntime"', 'backend: "python"'))
    with pytest.raises(NothingToCompile, match="is no ONNX step"):
        compile_steps(archive, manifest, PlanOptions(), compiler())
    with pytest.raises(NothingToCompile, match="no ONNX step with a GPU profile"):
        compile_steps(archive, replace(manifest, steps={}), PlanOptions(), compiler())


def test_compiling_imports_no_build_tools():
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxscript', 'transformers', 'diffusers', 'safetensors'): sys.modules[name] = None\n"
        "from click.testing import CliRunner\n"
        "from builders.cli import build\n"
        "import builders.compile.repack\n"
        "result = CliRunner().invoke(build, ['plans', '--help'])\n"
        "assert result.exit_code == 0, result.output\n"
        "print('torch-free')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "torch-free", done.stderr

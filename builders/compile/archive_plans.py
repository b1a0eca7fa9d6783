"""Turns the GPU graphs of an unpacked archive into TensorRT plans, where they lie.

Families write every GPU step as an ONNX step, checked on the CPU; compiling comes last, and needs neither torch nor
onnx. So an archive can also be built anywhere, and compiled later inside the container that will serve it
(`roundhouse build plans`).
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import click

from builders.compile.gpu import the_gpu
from builders.compile.tensorrt_plan import PlanOptions, build_plan, need_tensorrt
from builders.pipeline.progress import stage
from builders.triton_config.accelerated import GRAPH_FILE, PLAN_FILE, Placement, plan_config
from builders.triton_config.profile import Profile, from_facts
from server.archive.layout import find_models
from server.archive.manifest import Manifest
from server.archive.model_config import backend_of, parse, render
from server.archive.plan_facts import PlanFacts

Compile: TypeAlias = Callable[[Path, Path, Profile, PlanOptions], PlanFacts]
"""ONNX file, plan file, profile, options -> what the plan was compiled for."""


class NothingToCompile(click.ClickException):
    """The archive has no step that could become a plan."""


def require_compiler(where: Placement) -> None:
    """Ask at the start of a build for what its end needs. Raises MissingExtra, PlanFailed or NoUsableGpu."""
    if where.is_plan:
        need_tensorrt()
        the_gpu()


def compile_steps(
    root: Path, manifest: Manifest, options: PlanOptions, compile_graph: Compile = build_plan
) -> Manifest:
    """Compile each step that has a GPU profile in the manifest; returns the manifest with the plans' facts.

    The step's graph is replaced by `model.plan`, and its config becomes a `tensorrt_plan`.

    Raises:
        NothingToCompile: no step has a profile: the archive was not built with `--target gpu`.
        PlanFailed, MissingExtra, NoUsableGpu: from the compiler.
    """
    steps: dict[str, Mapping[str, Any]] = dict(manifest.steps)
    compiled = 0
    for name, folder in find_models(root).paths.items():
        facts = steps.get(name, {})
        if "profile" not in facts or not (folder / "1" / GRAPH_FILE).is_file():
            continue
        with stage(f"compile {name} with TensorRT (minutes)"):
            plan = _compile_step(folder, from_facts(facts["profile"]), options, compile_graph)
        # What was measured of the graph says nothing about the plan.
        kept = {key: value for key, value in facts.items() if key != "footprint_bytes"}
        steps[name] = {**kept, "tensorrt": plan.as_facts()}
        compiled += 1
    if not compiled:
        raise NothingToCompile(
            "the archive has no ONNX step with a GPU profile in its manifest; build it with --target gpu first"
        )
    return replace(manifest, steps=steps)


def _compile_step(folder: Path, profile: Profile, options: PlanOptions, compile_graph: Compile) -> PlanFacts:
    config_file, version = folder / "config.pbtxt", folder / "1"
    config = parse(config_file.read_text())
    if backend_of(config) != "onnxruntime":
        raise NothingToCompile(f"step {folder.name!r} has a GPU profile, but is no ONNX step")
    draft = folder.parent / f".{folder.name}.plan"
    try:
        facts = compile_graph(version / GRAPH_FILE, draft, profile, options)
        shutil.rmtree(version)  # the graph, and its weights beside it
        version.mkdir()
        draft.rename(version / PLAN_FILE)
    finally:
        draft.unlink(missing_ok=True)
    config_file.write_text(render(plan_config(config, facts.as_parameters())))
    return facts

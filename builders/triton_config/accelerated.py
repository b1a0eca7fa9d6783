"""From (target, accelerator, profile) to the config of a step that runs an ONNX graph. Pure.

Three ways to run a graph on a GPU, chosen by `--accelerator`:

    onnxruntime-cuda       ONNX Runtime's CUDA provider: loads at once, runs every graph. The default.
    onnxruntime-tensorrt   ONNX Runtime's TensorRT provider: compiles at the first load (minutes) into an engine cache.
    tensorrt               a plan, compiled at build time on the GPU that will serve it (`builders/compile`).

Parameter names: Triton's onnxruntime_backend and tensorrt_backend. No `precision_mode` is set: from TensorRT 11 on
types live in the graph (`builders/export/half.py`), and what the mode does there is not documented.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import click
from tritonclient.grpc import model_config_pb2 as pb

from builders.triton_config import model as triton
from builders.triton_config.profile import Profile, shapes_text

Accelerator: TypeAlias = Literal["tensorrt", "onnxruntime-tensorrt", "onnxruntime-cuda"]
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
DEFAULT_ACCELERATOR: Accelerator = "onnxruntime-cuda"

ENGINE_CACHE = "/var/cache/roundhouse/tensorrt"
"""Where compiled engines and timings stay between loads; Dockerfile.gpu makes the folder. Mount a volume to keep it."""
WORKSPACE_BYTES = 4 << 30
"""Scratch memory that kernels may ask for while TensorRT tries them."""
PLAN_FILE = "model.plan"
GRAPH_FILE = "model.onnx"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a graph runs, and by what. `accelerator` is None on a CPU."""

    target: triton.Target = "cpu"
    accelerator: Accelerator | None = None

    @property
    def is_plan(self) -> bool:
        """Whether the graph is compiled to a TensorRT plan at build time."""
        return self.accelerator == "tensorrt"


def placement(
    target: triton.Target, accelerator: Accelerator | None = None, precision: Precision = "fp32"
) -> Placement:
    """Fill in the default accelerator.

    Raises:
        click.UsageError: an accelerator or fp16 for a CPU, int8 for a GPU.
    """
    if precision == "int8" and target == "gpu":
        raise click.UsageError("--precision int8 is for CPUs; a GPU is fast in fp16")
    if precision == "fp16" and target == "cpu":
        raise click.UsageError("--precision fp16 needs --target gpu: CPUs would cast every operator back to fp32")
    if target == "cpu":
        if accelerator is not None:
            raise click.UsageError(f"--accelerator {accelerator} needs --target gpu")
        return Placement()
    return Placement(target, accelerator or DEFAULT_ACCELERATOR)


def graph_config(
    *,
    name: str,
    inputs: Sequence[triton.Field],
    outputs: Sequence[triton.Field],
    max_batch_size: int,
    where: Placement,
    profile: Profile,
    cache_key: str,
    graph_level: int | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Any:
    """The config of a step whose version folder holds `model.onnx`.

    For the accelerator `tensorrt` this is still the ONNX step: `plan_config` makes the plan's config of it, once there
    is a plan. `cache_key` names the graph's content (a digest): see `with_tensorrt_provider`.
    """
    config = triton.step_config(
        name=name,
        backend="onnxruntime",
        inputs=inputs,
        outputs=outputs,
        max_batch_size=max_batch_size,
        target=where.target,
        parameters=parameters,
        graph_level=graph_level,
    )
    if where.accelerator == "onnxruntime-tensorrt":
        with_tensorrt_provider(config, profile, cache_key)
    return config


def with_tensorrt_provider(config: Any, profile: Profile, cache_key: str) -> Any:
    """Let ONNX Runtime compile the graph with TensorRT, and keep what it compiled.

    `cache_key` becomes the prefix of the cached files. It must change with the weights: ONNX Runtime itself names
    cached engines by the graph's structure only, so that two checkpoints of one architecture would meet in one file
    (microsoft/onnxruntime issues 6455 and 32254).
    """
    if not cache_key:
        raise ValueError("an engine cache without a key of the graph's content would mix up equal architectures")
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    accelerator.parameters.update(
        {
            "max_workspace_size_bytes": str(WORKSPACE_BYTES),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": ENGINE_CACHE,
            "trt_engine_cache_prefix": cache_key,
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": ENGINE_CACHE,
        }
    )
    if profile:
        accelerator.parameters["trt_profile_min_shapes"] = shapes_text(profile, "least")
        accelerator.parameters["trt_profile_opt_shapes"] = shapes_text(profile, "best")
        accelerator.parameters["trt_profile_max_shapes"] = shapes_text(profile, "most")
    return config


def plan_config(config: Any, facts: Mapping[str, str]) -> Any:
    """The config of the step once its graph is a plan: same tensors and warm-up, TensorRT's platform.

    `facts` (`PlanFacts.as_parameters`) travel in the config, since steps are shared without their manifests.
    """
    result = pb.ModelConfig()
    result.CopyFrom(config)
    result.backend = ""
    result.platform = "tensorrt_plan"
    result.ClearField("optimization")
    result.ClearField("parameters")
    result.default_model_filename = ""
    for key, value in facts.items():
        result.parameters[key].string_value = value
    return result


def with_profile_warmup(config: Any, profile: Profile) -> Any:
    """Warm up with zeros of the least and the usual shapes, so that no request meets a kernel's first run.

    Inputs that the profile does not name are static: their dims are taken as they are.
    """
    for which in ("least", "best"):
        sample = config.model_warmup.add(name=f"zeros of the {which} shapes", count=1)
        batch = 0
        for field in config.input:
            shape = getattr(profile[field.name], which) if field.name in profile else None
            if shape is not None and config.max_batch_size:
                batch, shape = shape[0], shape[1:]
            tensor = sample.inputs[field.name]
            tensor.data_type = field.data_type
            tensor.dims.extend(field.dims if shape is None else shape)
            tensor.zero_data = True
        sample.batch_size = batch
    return config

"""A staged step's config as Triton must see it: content-addressed names instead of the author's. Pure."""

from collections.abc import Collection, Mapping
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from server.domain.errors import InvalidArchive
from server.domain.model import StepDigest

CALLS_FILE: Final = "roundhouse_calls.py"
"""The generated model file of Python steps that call other models."""

_BACKEND_BY_PLATFORM: Final = {"onnxruntime_onnx": "onnxruntime"}
FILE_BY_BACKEND: Final = {"onnxruntime": "model.onnx", "python": "model.py", "dali": "model.dali"}
"""What a model's file is called where its config does not tell."""


def model_name(digest: StepDigest, number: int = 0) -> str:
    """The name of a step in Triton: the same for every archive that has the step.

    `number` > 0 where an earlier name cannot be used again in this run of tritonserver (see `residents`).
    """
    return f"rh_{digest[:32]}n{number}" if number else f"rh_{digest[:32]}"


def rewrite(
    config: ModelConfig,
    name: str,
    calls: Mapping[str, str],
    emulated: Collection[str] = (),
    *,
    has_response_cache: bool = True,
) -> ModelConfig:
    """Return a copy of `config` for Triton.

    `calls`: names in Triton by the author's names. `emulated`: backends that run on top of the Python backend.
    Without a response cache the config must not ask for one: it changes when an answer comes, never which.

    Raises:
        InvalidArchive: an ensemble step names a model that the archive does not have.
    """
    result = ModelConfig()
    result.CopyFrom(config)
    result.name = name
    if not has_response_cache:
        result.ClearField("response_cache")
    for group in result.instance_group:
        group.name = ""  # Triton names instances after it, and errors name instances: those must name the model
    for step in result.ensemble_scheduling.step:
        if step.model_name not in calls:
            raise InvalidArchive(f"ensemble {config.name!r} uses model {step.model_name!r}, which the archive lacks")
        step.model_name = calls[step.model_name]
    backend = result.backend or _BACKEND_BY_PLATFORM.get(result.platform, "")
    if backend in emulated:
        # Only the backend's name leads Triton to a python-based backend, and the platform must not contradict it.
        result.backend, result.platform = backend, ""
        result.default_model_filename = result.default_model_filename or FILE_BY_BACKEND.get(backend, "")
        _one_instance_by_default(result)
    if backend == "python" and calls:
        result.default_model_filename = CALLS_FILE
    return result


def _one_instance_by_default(config: ModelConfig) -> None:
    """Triton's own default on a CPU is two, which here would be two processes with a copy of the weights each."""
    if not config.instance_group:
        config.instance_group.add(kind=ModelInstanceGroup.KIND_AUTO)
    for group in config.instance_group:
        group.count = max(1, group.count)


def calls_wiring(config: ModelConfig, calls: Mapping[str, str]) -> dict[str, object]:
    """What `roundhouse_calls.py` reads: the author's module, and the names in Triton by the author's names."""
    module = (config.default_model_filename or FILE_BY_BACKEND["python"]).removesuffix(".py")
    return {"module": module, "names": dict(sorted(calls.items()))}


def instance_devices(config: ModelConfig, gpus: int) -> list[str]:
    """The device of every instance that Triton will start, on a host with that many GPUs. Empty for ensembles."""
    if config.platform == "ensemble" or config.ensemble_scheduling.step:
        return []
    every_gpu = [f"gpu:{index}" for index in range(gpus)]
    devices: list[str] = []
    for group in config.instance_group or [ModelInstanceGroup(kind=ModelInstanceGroup.KIND_AUTO, count=1)]:
        named = [f"gpu:{index}" for index in group.gpus] or every_gpu
        on_gpu = group.kind == ModelInstanceGroup.KIND_GPU or (
            group.kind == ModelInstanceGroup.KIND_AUTO and bool(every_gpu) and config.backend != "python"
        )
        devices += (named if on_gpu else ["cpu"]) * max(1, group.count)
    return devices

"""SageMaker's and Triton's own variables, translated to ours. Pure: variables in, settings and remarks out.

Source: docker/sagemaker/serve of triton-inference-server/server (2.51 to 2.73), and the inference toolkit's names.
Variables that tune parts which this server does not have are remarked upon, not refused.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from server.settings.triton_arguments import sorted_out

SINGLE_MODEL_FOLDER: Final = Path("/opt/ml/model")

_DIRECT: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "SAGEMAKER_BIND_TO_PORT": ("port", str),
    "SAGEMAKER_SAFE_PORT_RANGE": ("safe_port_range", str),
    "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": ("default_model", str),
    "SAGEMAKER_TRITON_INFERENCE_TYPE": ("inference_type", str),
    "SAGEMAKER_TRITON_PING_MODE": ("ping_mode", lambda mode: "live" if mode == "live" else "ready"),
    "SAGEMAKER_TRITON_OVERRIDE_PING_MODE": ("ping_mode", lambda mode: "live" if mode == "live" else "ready"),
    "SAGEMAKER_TRITON_SHM_DEFAULT_BYTE_SIZE": ("triton_shm_default", str),
    "SAGEMAKER_TRITON_SHM_GROWTH_BYTE_SIZE": ("triton_shm_growth", str),
    "SAGEMAKER_TRITON_MODEL_LOAD_GPU_LIMIT": ("gpu_memory_fraction", str),
    "SAGEMAKER_MAX_PAYLOAD_IN_MB": ("max_body", lambda mib: f"{mib}MiB"),
    "SAGEMAKER_MODEL_SERVER_TIMEOUT": ("request_timeout_s", str),
    "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": ("request_timeout_s", str),
    "SAGEMAKER_STARTUP_TIMEOUT": ("preload_timeout_s", str),
    "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": ("default_accept", str),
}

_PORTS: Final[Mapping[str, tuple[str, str, str]]] = {
    "SAGEMAKER_TRITON_ALLOW_GRPC": ("SAGEMAKER_TRITON_GRPC_PORT", "8001", "grpc_port"),
    "SAGEMAKER_TRITON_ALLOW_METRICS": ("SAGEMAKER_TRITON_METRICS_PORT", "8002", "metrics_port"),
}
"""By the variable that opens a port: the variable with its number, the number without that, our setting."""

_LOG_LEVELS: Final = {"10": "debug", "20": "info", "30": "warning", "40": "error", "50": "error"}

_WITHOUT_MEANING: Final[Mapping[str, str]] = {
    "SAGEMAKER_TRITON_THREAD_COUNT": "one event loop reads and writes all requests",
    "SAGEMAKER_TRITON_BUFFER_MANAGER_THREAD_COUNT": "buffers are not copied by threads",
    "SAGEMAKER_TRITON_TENSORFLOW_VERSION": "there is no TensorFlow backend",
    "SAGEMAKER_TRITON_DISABLE_MODEL_NAMESPACING": (
        "steps are kept by their content, so that equal names in different archives never meet"
    ),
    "SAGEMAKER_MODEL_SERVER_WORKERS": "how many instances a model has is said by its config.pbtxt",
    "SAGEMAKER_MODEL_SERVER_VMARGS": "there is no Java",
    "SAGEMAKER_HANDLER": "archives are Triton repositories; give code as a python step",
    "SAGEMAKER_PROGRAM": "archives are Triton repositories; give code as a python step",
    "SAGEMAKER_BASE_DIR": "give --model or --load-root",
}
"""Variables that change nothing, and why."""


def from_sagemaker(variables: Mapping[str, str]) -> tuple[dict[str, object], list[str]]:
    """Settings that SageMaker's variables stand for, and a remark for each variable that has no effect here.

    `SAGEMAKER_MULTI_MODEL` counts only when it is exactly `true`, as in Triton's entry point.
    """
    given = {
        name: value.strip() for name, value in variables.items() if name.startswith("SAGEMAKER_") and value.strip()
    }
    found: dict[str, object] = {
        setting: translate(given[variable]) for variable, (setting, translate) in _DIRECT.items() if variable in given
    }
    if "SAGEMAKER_MULTI_MODEL" in variables:
        found["mode"] = "multi" if variables["SAGEMAKER_MULTI_MODEL"] == "true" else "single"
    if level := _log_level(given):
        found["log_level"] = level
    remarks = [f"{name} has no effect here: {why}" for name, why in _WITHOUT_MEANING.items() if name in given]
    for allow, (port, usual, setting) in _PORTS.items():
        if _is_true(given.get(allow, "")):
            found[setting] = given.get(port, usual)
        elif port in given:
            remarks.append(f"{port} has no effect without {allow}=true")
    if arguments := given.get("SAGEMAKER_TRITON_ADDITIONAL_ARGS", ""):
        sorted_arguments = sorted_out(arguments)
        found["triton_args"] = sorted_arguments.for_triton
        remarks += sorted_arguments.remarks
        if sorted_arguments.restricted_apis:
            found["restrict_api"] = sorted_arguments.restricted_apis
    return found, remarks


def _log_level(given: Mapping[str, str]) -> str:
    """The toolkit's level if it is said, else what Triton's switches leave on; "" where nothing is said."""
    if said := given.get("SAGEMAKER_CONTAINER_LOG_LEVEL"):
        return _LOG_LEVELS.get(said, "info")
    if _is_true(given.get("SAGEMAKER_TRITON_LOG_VERBOSE", "")):
        return "debug"
    for level in ("ERROR", "WARNING", "INFO"):
        if _is_false(given.get(f"SAGEMAKER_TRITON_LOG_{level}", "")):
            return {"ERROR": "error", "WARNING": "error", "INFO": "warning"}[level]
    return "info" if any(name.startswith("SAGEMAKER_TRITON_LOG_") for name in given) else ""


def _is_true(value: str) -> bool:
    return value.lower() in {"true", "1"}


def _is_false(value: str) -> bool:
    return value.lower() in {"false", "0"}

"""SageMaker's and Triton's own variables, translated to ours. Pure: variables in, settings and remarks out.

Source: docker/sagemaker/serve of triton-inference-server/server (2.51 to 2.73), and the inference toolkit's names.
Variables that tune threads of Triton's own front end have no meaning here; they are remarked upon, not refused.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

SINGLE_MODEL_FOLDER: Final = Path("/opt/ml/model")

_DIRECT: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "SAGEMAKER_BIND_TO_PORT": ("port", str),
    "SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": ("default_model", str),
    "SAGEMAKER_TRITON_PING_MODE": ("ping_mode", lambda mode: "live" if mode == "live" else "ready"),
    "SAGEMAKER_TRITON_OVERRIDE_PING_MODE": ("ping_mode", lambda mode: "live" if mode == "live" else "ready"),
    "SAGEMAKER_TRITON_SHM_DEFAULT_BYTE_SIZE": ("triton_shm_default", str),
    "SAGEMAKER_TRITON_SHM_GROWTH_BYTE_SIZE": ("triton_shm_growth", str),
    "SAGEMAKER_TRITON_ADDITIONAL_ARGS": ("triton_args", str),
    "SAGEMAKER_MAX_PAYLOAD_IN_MB": ("max_body", lambda mib: f"{mib}MiB"),
    "SAGEMAKER_MODEL_SERVER_TIMEOUT": ("request_timeout_s", str),
    "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS": ("request_timeout_s", str),
    "SAGEMAKER_TRITON_LOG_VERBOSE": ("log_level", lambda on: "debug" if on.lower() in {"true", "1"} else "info"),
    "SAGEMAKER_CONTAINER_LOG_LEVEL": (
        "log_level",
        lambda level: {"10": "debug", "20": "info", "30": "warning", "40": "error", "50": "error"}.get(level, "info"),
    ),
}

_WITHOUT_MEANING: Final = (
    "SAGEMAKER_TRITON_THREAD_COUNT",
    "SAGEMAKER_TRITON_BUFFER_MANAGER_THREAD_COUNT",
    "SAGEMAKER_TRITON_TENSORFLOW_VERSION",
    "SAGEMAKER_TRITON_DISABLE_MODEL_NAMESPACING",
    "SAGEMAKER_TRITON_ALLOW_GRPC",
    "SAGEMAKER_TRITON_GRPC_PORT",
    "SAGEMAKER_TRITON_ALLOW_METRICS",
    "SAGEMAKER_TRITON_METRICS_PORT",
    "SAGEMAKER_TRITON_INFERENCE_TYPE",
    "SAGEMAKER_TRITON_MODEL_LOAD_GPU_LIMIT",
    "SAGEMAKER_SAFE_PORT_RANGE",
    "SAGEMAKER_MODEL_SERVER_WORKERS",
)


def from_sagemaker(variables: Mapping[str, str]) -> tuple[dict[str, object], list[str]]:
    """Settings that SageMaker's variables stand for, and a remark for each variable that has no effect here.

    `SAGEMAKER_MULTI_MODEL` counts only when it is exactly `true`, as in Triton's entry point.
    """
    found: dict[str, object] = {}
    for variable, (setting, translate) in _DIRECT.items():
        if value := variables.get(variable, "").strip():
            found[setting] = translate(value)
    if "SAGEMAKER_MULTI_MODEL" in variables:
        found["mode"] = "multi" if variables["SAGEMAKER_MULTI_MODEL"] == "true" else "single"
    remarks = [f"{variable} has no effect here" for variable in _WITHOUT_MEANING if variable in variables]
    return found, remarks

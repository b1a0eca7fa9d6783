"""Assembles the module that a step imports as `triton_python_backend_utils`.

Every step gets a module of its own, so that its calls of other models, its log lines and its folder are its own,
also when many steps share one process.
"""

from types import ModuleType
from typing import Any, Final

from server.engines.embedded.python_steps import configuration, observing, requests, responses, tensors
from server.engines.embedded.python_steps.triton_errors import TritonError, TritonModelException

UTILS_NAME: Final = "triton_python_backend_utils"

_SHARED: Final[dict[str, Any]] = {
    "TritonError": TritonError,
    "TritonModelException": TritonModelException,
    "Tensor": tensors.Tensor,
    "TRITON_STRING_TO_NUMPY": tensors.TRITON_STRING_TO_NUMPY,
    "serialize_byte_tensor": tensors.serialize_byte_tensor,
    "deserialize_bytes_tensor": tensors.deserialize_bytes_tensor,
    "triton_string_to_numpy": tensors.triton_string_to_numpy,
    "triton_to_numpy_type": tensors.triton_to_numpy_type,
    "numpy_to_triton_type": tensors.numpy_to_triton_type,
    "InferenceResponse": responses.InferenceResponse,
    "InferenceResponseSender": responses.InferenceResponseSender,
    "ResponseIterator": responses.ResponseIterator,
    "get_output_tensor_by_name": responses.get_output_tensor_by_name,
    "TRITONSERVER_RESPONSE_COMPLETE_FINAL": responses.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
    "get_input_tensor_by_name": requests.get_input_tensor_by_name,
    "PreferredMemory": requests.PreferredMemory,
    "InferenceTrace": requests.InferenceTrace,
    "TRITONSERVER_MEMORY_CPU": requests.TRITONSERVER_MEMORY_CPU,
    "TRITONSERVER_MEMORY_GPU": requests.TRITONSERVER_MEMORY_GPU,
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_START": requests.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START,
    "TRITONSERVER_REQUEST_FLAG_SEQUENCE_END": requests.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END,
    "TRITONSERVER_REQUEST_RELEASE_ALL": requests.TRITONSERVER_REQUEST_RELEASE_ALL,
    "TRITONSERVER_REQUEST_RELEASE_RESCHEDULE": requests.TRITONSERVER_REQUEST_RELEASE_RESCHEDULE,
    "ModelConfig": configuration.ModelConfig,
    "get_input_config_by_name": configuration.get_input_config_by_name,
    "get_output_config_by_name": configuration.get_output_config_by_name,
    "using_decoupled_model_transaction_policy": configuration.using_decoupled_model_transaction_policy,
    "MetricFamily": observing.MetricFamily,
}


def make_utils(model_dir: str, caller: requests.Caller | None, write_log: observing.WriteLog) -> ModuleType:
    """Make one step's module. `model_dir` is its version folder; without `caller` it cannot call other models."""
    module = ModuleType(UTILS_NAME, "The Python side of Triton's model API, for one step.")
    module.__dict__.update(_SHARED)

    def is_model_ready(model_name: str, model_version: str = "") -> bool:
        del model_version  # an archive has one version of each model
        return caller is not None and model_name in caller.names()

    bound: dict[str, Any] = {
        "InferenceRequest": type("InferenceRequest", (requests.InferenceRequest,), {"_caller": caller}),
        "Logger": type("Logger", (observing.Logger,), {"_write": staticmethod(write_log)}),
        "get_model_dir": lambda: model_dir,
        "is_model_ready": is_model_ready,
        "load_model": _refuse_loading,
        "unload_model": _refuse_loading,
    }
    module.__dict__.update(bound)
    return module


def _refuse_loading(model_name: str, *_: object, **__: object) -> None:
    raise TritonModelException(
        f"cannot load or unload {model_name!r} from a step: an archive's models are loaded and unloaded together"
    )

"""Stands in front of a Python step that calls other models: maps the names its author wrote to those in Triton.

Copied beside the author's file, with `roundhouse_calls.json`: {"module": "model", "names": {"encoder": "rh_..."}}.
Runs in Triton's Python stub. The stub hands the classes of `c_python_backend_utils` to `pb_utils` after this file is
imported, so replacing them here reaches every way in which an author may name them.
"""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

native: Any = importlib.import_module("c_python_backend_utils")  # exists in the stub only
_wiring = json.loads(Path(__file__).with_name("roundhouse_calls.json").read_text())
_names = _wiring["names"]
_NAME_POSITION = 4  # of `model_name` among InferenceRequest's positional arguments


def _in_triton(name: str) -> str:
    """The name in Triton. A model outside the archive gets one that nothing has, so Triton says so in its own way."""
    return str(_names.get(name, f"{name} (not in this archive)"))


class InferenceRequest(native.InferenceRequest):  # type: ignore[misc]
    """As Triton's own; `model_name` is a name of the author's archive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "model_name" in kwargs:
            kwargs["model_name"] = _in_triton(kwargs["model_name"])
        elif len(args) > _NAME_POSITION:
            args = (*args[:_NAME_POSITION], _in_triton(args[_NAME_POSITION]), *args[_NAME_POSITION + 1 :])
        super().__init__(*args, **kwargs)


def _refused(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise native.TritonModelException("a model may not load or unload others: Roundhouse keeps account of memory")


def _wrap_readiness(original: Callable[..., bool]) -> Callable[..., bool]:
    def is_model_ready(model_name: str, *args: Any, **kwargs: Any) -> bool:
        return model_name in _names and original(_names[model_name], *args, **kwargs)

    return is_model_ready


native.InferenceRequest = InferenceRequest
native.load_model = native.unload_model = _refused
if hasattr(native, "is_model_ready"):
    native.is_model_ready = _wrap_readiness(native.is_model_ready)

TritonPythonModel = importlib.import_module(f"{__package__}.{_wiring['module']}").TritonPythonModel

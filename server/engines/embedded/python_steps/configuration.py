"""Reading the model configuration, and `pb_utils.ModelConfig`, through which a model completes its own."""

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

Properties: TypeAlias = dict[str, Any]


def get_input_config_by_name(model_config: Mapping[str, Any], name: str) -> Properties | None:
    """The properties of an input, None if the model has none of that name."""
    return _find(model_config.get("input", ()), name)


def get_output_config_by_name(model_config: Mapping[str, Any], name: str) -> Properties | None:
    """The properties of an output, None if the model has none of that name."""
    return _find(model_config.get("output", ()), name)


def using_decoupled_model_transaction_policy(model_config: Mapping[str, Any]) -> bool:
    """Whether the model may send any number of responses per request."""
    return bool(model_config.get("model_transaction_policy", {}).get("decoupled", False))


def _find(tensors: Any, name: str) -> Properties | None:
    return next((tensor for tensor in tensors if tensor["name"] == name), None)


class ModelConfig:
    """A configuration that `auto_complete_config` may add to, but not contradict: that raises ValueError."""

    def __init__(self, model_config: str) -> None:
        self._model_config: Properties = json.loads(model_config)

    def as_dict(self) -> Properties:
        """The configuration, in the form of Triton's JSON. For reading only."""
        return self._model_config

    def add_input(self, input: Mapping[str, Any]) -> None:  # noqa: A002 - the public name of the argument
        """Declare an input: `name`, `data_type`, `dims` and perhaps `optional`."""
        self._add("input", dict(input), frozenset({"optional"}))

    def add_output(self, output: Mapping[str, Any]) -> None:
        """Declare an output: `name`, `data_type`, `dims`."""
        self._add("output", dict(output), frozenset())

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """Raise the batch limit; 0 means that the model has no batch axis."""
        written = self._model_config.get("max_batch_size", 0)
        if written > max_batch_size:
            raise self._contradiction("max_batch_size", written, max_batch_size)
        self._model_config["max_batch_size"] = max_batch_size

    def set_dynamic_batching(self) -> None:
        """Ask for dynamic batching, unless the configuration says so already."""
        for other in ("sequence_batching", "ensemble_scheduling"):
            if other in self._model_config:
                raise self._contradiction("scheduling", other, "dynamic_batching")
        self._model_config.setdefault("dynamic_batching", {})

    def set_model_transaction_policy(self, transaction_policy_dict: Mapping[str, Any]) -> None:
        """Say whether the model is decoupled: `{"decoupled": True}`."""
        for unknown in transaction_policy_dict.keys() - {"decoupled"}:
            raise ValueError(f"the transaction policy has no property {unknown!r}, only 'decoupled'")
        policy = self._model_config.setdefault("model_transaction_policy", {})
        for key, value in transaction_policy_dict.items():
            if policy.setdefault(key, value) != value:
                raise self._contradiction(key, policy[key], value)

    def _add(self, kind: str, tensor: Properties, optional: frozenset[str]) -> None:
        required = {"name", "data_type", "dims"}
        name = tensor.get("name", "?")
        for missing in sorted(required - tensor.keys()):
            raise ValueError(f"{kind} {name!r} lacks the property {missing!r}")
        for unknown in sorted(tensor.keys() - required - optional):
            raise ValueError(f"{kind} {name!r} has the property {unknown!r}, which cannot be set here")
        tensors = self._model_config.setdefault(kind, [])
        written = _find(tensors, name)
        if written is None:
            tensors.append(tensor)
            return
        for key, value in tensor.items():
            if not _is_blank(key, written) and written[key] != value:
                raise self._contradiction(f"{kind} {name!r} {key}", written[key], value)
        written.update(tensor)

    def _contradiction(self, what: str, written: object, given: object) -> ValueError:
        return ValueError(
            f"{what} of model {self._model_config.get('name', '')!r} is {written!r} in its configuration,"
            f" but auto_complete_config sets {given!r}"
        )


def _is_blank(key: str, written: Properties) -> bool:
    """Whether the configuration leaves the property open."""
    if key == "data_type":
        return bool(written.get(key, "TYPE_INVALID") == "TYPE_INVALID")
    if key == "dims":
        return not written.get(key)
    return key not in written

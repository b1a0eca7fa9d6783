"""From a step and its configuration to the instances that are to run: pure but for one look at the version folders."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from server.domain.errors import InvalidArchive, UnsupportedModel
from server.domain.model import Step
from server.engines.embedded.config.versions import model_file
from server.engines.embedded.python_steps.launch import Launch

_INT64_TYPES: Final = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})
_EXECUTION: Final = "EXECUTION"


def runs_in_process(config: ModelConfig) -> bool:
    """Whether the step asks to run inside the server. Raises InvalidArchive on a value that nobody knows."""
    if _EXECUTION not in config.parameters:
        return False
    value = config.parameters[_EXECUTION].string_value
    if value not in {"in-process", "isolated"}:
        raise InvalidArchive(f"step {config.name!r}: parameter EXECUTION is {value!r}, not 'in-process' or 'isolated'")
    return bool(value == "in-process")


def launches(step: Step, config: ModelConfig) -> list[Launch]:
    """One launch per instance that `instance_group` asks for. Raises InvalidArchive, UnsupportedModel."""
    refuse_unsupported(config)
    return [
        launch_of(step.name, step.directory, config, tuple(step.calls), kind=kind, device=device, instance=instance)
        for kind, device, instance in _instances(step.name, config)
    ]


def launch_of(
    name: str,
    directory: Path,
    config: ModelConfig,
    calls: tuple[str, ...] = (),
    *,
    kind: str = "CPU",
    device: str = "0",
    instance: str = "",
) -> Launch:
    """Describe one instance. Raises InvalidArchive where no version folder has a model file."""
    path = _model_file(directory, config)
    version = path.parent.name
    arguments = {
        "model_config": json.dumps(config_to_json(_as_loaded(name, config, path.name))),
        "model_instance_kind": kind,
        "model_instance_device_id": device,
        "model_instance_name": instance or name,
        "model_repository": str(directory),
        "model_version": version,
        "model_name": config.name or name,
    }
    return Launch(
        name=name,
        directory=directory,
        version=version,
        file_name=path.name,
        arguments=arguments,
        outputs=tuple(output.name for output in config.output),
        calls=calls,
        is_decoupled=config.model_transaction_policy.decoupled,
    )


def refuse_unsupported(config: ModelConfig) -> None:
    """Raise UnsupportedModel for what only Triton itself can do for a Python model."""
    if config.HasField("sequence_batching"):
        raise UnsupportedModel(f"step {config.name!r}: sequence_batching needs the triton engine")


def _model_file(directory: Path, config: ModelConfig) -> Path:
    path = model_file(directory, config, "model.py")
    if path.suffix != ".py" or not path.stem.isidentifier() or not path.parent.name.isdecimal():
        raise InvalidArchive(f"model {config.name!r}: {path.name!r} is not a Python file in the version folder")
    return path


def _as_loaded(name: str, config: ModelConfig, file_name: str) -> ModelConfig:
    """The configuration as Triton hands it to a model: with what it fills in when it loads one."""
    loaded = ModelConfig()
    loaded.CopyFrom(config)
    loaded.default_model_filename = file_name
    if not loaded.instance_group:
        loaded.instance_group.add()
    for position, group in enumerate(loaded.instance_group):
        group.name = group.name or f"{name}_{position}"
        group.count = max(group.count, 1)
        if group.kind == ModelInstanceGroup.KIND_AUTO:
            group.kind = ModelInstanceGroup.KIND_CPU
    return loaded


def _instances(name: str, config: ModelConfig) -> Iterator[tuple[str, str, str]]:
    """Kind, device id and name of each instance, as Triton would number them."""
    groups = config.instance_group or [ModelInstanceGroup()]
    for position, group in enumerate(groups):
        label = group.name or f"{name}_{position}"
        is_gpu = group.kind == ModelInstanceGroup.KIND_GPU
        number = 0
        for gpu in list(group.gpus) if is_gpu and group.gpus else [0]:
            for _ in range(max(group.count, 1)):
                yield ("GPU" if is_gpu else "CPU", str(gpu), f"{label}_{number}")
                number += 1


def config_to_json(config: ModelConfig) -> dict[str, Any]:
    """Triton's JSON form of a configuration: its own field names, defaults written out, 64-bit integers as numbers."""
    values = MessageToDict(config, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    numbered: dict[str, Any] = _with_numbers(values, config.DESCRIPTOR)
    return numbered


def config_from_json(values: dict[str, Any]) -> ModelConfig:
    """The inverse of `config_to_json`. Raises InvalidArchive."""
    try:
        return ParseDict(values, ModelConfig())
    except ParseError as error:
        raise InvalidArchive(f"the completed configuration is not a model configuration: {error}") from error


def _with_numbers(values: Any, descriptor: Any) -> Any:
    """Protobuf writes 64-bit integers as JSON strings; Triton's JSON has numbers there."""
    for name, value in values.items():
        field = descriptor.fields_by_name[name]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values[name] = {
                key: _number(item, field.message_type.fields_by_name["value"]) for key, item in value.items()
            }
        elif isinstance(value, list):
            values[name] = [_number(item, field) for item in value]
        else:
            values[name] = _number(value, field)
    return values


def _number(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return _with_numbers(value, field.message_type)
    return int(value) if field.cpp_type in _INT64_TYPES else value

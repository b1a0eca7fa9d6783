"""What of a step's config says how it runs, and never what it computes: threads, instances, batching. Pure.

    threads     of one execution: `intra_op_thread_count` of ONNX steps on a CPU, `num_threads` of DALI steps
    instances   executions side by side: the counts of `instance_group`
    preferred   batch sizes that requests are gathered to, `8+16`: `dynamic_batching.preferred_batch_size`
    delay_us    how long a smaller batch waits for more: `dynamic_batching.max_queue_delay_microseconds`

The last two only where the config says `dynamic_batching` already: whether rows may be merged is its author's word.
An empty value takes the setting away, so that the server decides.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from tritonclient.grpc import model_config_pb2 as pb

from server.archive.model_config import ENSEMBLE, backend_of, parameter

_THREADS: Final = MappingProxyType({"onnxruntime": "intra_op_thread_count", "dali": "num_threads"})
"""The parameter's name by backend."""
_MOST: Final = 4096


class NoSuchSetting(ValueError):
    """A step has no such setting, or it takes no such value. The message says what there is."""


@dataclass(frozen=True, slots=True)
class _Setting:
    is_there: Callable[[Any], bool]
    read: Callable[[Any], str]
    write: Callable[[Any, str], None]


def settings_of(config: Any) -> dict[str, str]:
    """Every setting that the config's step has, with its value; "" where the config leaves it to the server."""
    return {name: each.read(config) for name, each in _SETTINGS.items() if each.is_there(config)}


def change(config: Any, name: str, value: str) -> None:
    """Give a setting another value, in place.

    Raises:
        NoSuchSetting: the step does not have it, or the value is no positive number (of `preferred`: numbers).
    """
    there = settings_of(config)
    if name not in there:
        has = f"it has {', '.join(there)}" if there else "it has none: what it calls has them"
        raise NoSuchSetting(f"step {config.name!r} has no setting {name!r}; {has}")
    numbers = value.split("+") if value else []
    is_list = name == "preferred"
    if len(numbers) > 1 and not is_list:
        raise NoSuchSetting(f"{name} of step {config.name!r} is one number, got {value!r}")
    for number in numbers:
        _check(config, name, number)
    _SETTINGS[name].write(config, value)


def _check(config: Any, name: str, number: str) -> None:
    most = max(1, config.max_batch_size) if name == "preferred" else 60_000_000 if name == "delay_us" else _MOST
    least = 0 if name == "delay_us" else 1
    if not (number.isdecimal() and number.isascii() and least <= int(number) <= most):
        raise NoSuchSetting(f"{name} of step {config.name!r} is {least} to {most}, got {number!r}")


def _has_threads(config: Any) -> bool:
    return backend_of(config) in _THREADS and not (backend_of(config) == "onnxruntime" and _is_on_gpu(config))


def _read_threads(config: Any) -> str:
    return parameter(config, _THREADS[backend_of(config)]) or ""


def _write_threads(config: Any, value: str) -> None:
    key = _THREADS[backend_of(config)]
    if value:
        config.parameters[key].string_value = value
    else:
        config.parameters.pop(key, None)


def _has_instances(config: Any) -> bool:
    return backend_of(config) != ENSEMBLE and len(config.instance_group) <= 1


def _read_instances(config: Any) -> str:
    return str(config.instance_group[0].count or "") if config.instance_group else ""


def _write_instances(config: Any, value: str) -> None:
    if not config.instance_group:
        config.instance_group.add()
    config.instance_group[0].count = int(value or 0)
    if not value and config.instance_group[0] == pb.ModelInstanceGroup():
        del config.instance_group[:]


def _has_batching(config: Any) -> bool:
    return bool(config.HasField("dynamic_batching"))


def _read_preferred(config: Any) -> str:
    return "+".join(str(size) for size in config.dynamic_batching.preferred_batch_size)


def _write_preferred(config: Any, value: str) -> None:
    del config.dynamic_batching.preferred_batch_size[:]
    config.dynamic_batching.preferred_batch_size.extend(sorted({int(size) for size in value.split("+") if size}))


def _read_delay(config: Any) -> str:
    return str(config.dynamic_batching.max_queue_delay_microseconds or "")


def _write_delay(config: Any, value: str) -> None:
    config.dynamic_batching.max_queue_delay_microseconds = int(value or 0)


def _is_on_gpu(config: Any) -> bool:
    return any(group.kind == pb.ModelInstanceGroup.KIND_GPU for group in config.instance_group)


_SETTINGS: Final[Mapping[str, _Setting]] = MappingProxyType(
    {
        "threads": _Setting(_has_threads, _read_threads, _write_threads),
        "instances": _Setting(_has_instances, _read_instances, _write_instances),
        "preferred": _Setting(_has_batching, _read_preferred, _write_preferred),
        "delay_us": _Setting(_has_batching, _read_delay, _write_delay),
    }
)

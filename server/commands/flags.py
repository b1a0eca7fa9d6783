"""Flags of `roundhouse serve`, made from the settings themselves, so that no setting is written twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from pydantic.fields import FieldInfo

from server.settings import REPEATABLE, Settings

Command = TypeVar("Command", bound=Callable[..., Any])
_METAVARS: Final = {
    "store": "DIR|s3://...",
    "restrict_api": "GROUP:HEADER=VALUE",
    "groups": "GROUP:quota=SIZE|N%,priority=N",
    "archives": "MATCH:priority=N,ttl_s=SECONDS,pin=true",
    "safe_port_range": "A-B",
    "gpu_memory_fraction": "0..1",
}


def setting_flags(command: Command) -> Command:
    """Add one option per setting; absent ones stay out of the call, so that weaker sources can speak."""
    for name, field in reversed(Settings.model_fields.items()):
        command = _option(name, field)(command)
    return command


def _option(name: str, field: FieldInfo) -> Callable[[Command], Command]:
    default = "" if field.default in (None, ()) else f"  [default: {_shown(name, field.default)}]"
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        default=None,
        multiple=_is_repeatable(field),
        metavar=_metavar(name, field),
        help=f"{(field.description or '').replace('`', '')}{default}",
    )


def _shown(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path) or not isinstance(value, int) or not _is_bytes(name):
        return str(value)
    return f"{value // 1024**2}MiB" if value < 1024**3 else f"{value // 1024**3}GiB"


def _is_bytes(name: str) -> bool:
    return "ByteSize" in str(Settings.model_fields[name].annotation)


def _is_repeatable(field: FieldInfo) -> bool:
    return REPEATABLE in field.metadata


def _metavar(name: str, field: FieldInfo) -> str:
    if name in _METAVARS:
        return _METAVARS[name]
    kind = str(field.annotation)
    choices = getattr(field.annotation, "__args__", ())
    if kind.startswith("typing.Literal"):
        return "|".join(choices)
    for mark, metavar in (
        ("bool", "true|false"),
        ("ByteSize", "SIZE"),
        ("Path", "PATH"),
        ("tuple", "A,B"),
        ("float", "SECONDS"),
        ("int", "N"),
    ):
        if mark in kind:
            return metavar
    return "TEXT"


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Only what was typed."""
    return {name: value for name, value in flags.items() if value not in (None, ())}

"""SAGEMAKER_TRITON_ADDITIONAL_ARGS sorted out: what is said to Triton's own HTTP side is meant for ours. Pure."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_RESTRICTED: Final = "http-restricted-api"
_NEEDLESS: Final = {
    "load-model": "the models that others call are loaded with them",
}
"""Flags that change nothing here, and why."""


@dataclass(frozen=True, slots=True)
class SortedArguments:
    """The arguments by whom they are for."""

    for_triton: str = ""
    restricted_apis: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def sorted_out(arguments: str) -> SortedArguments:
    """Take a line of tritonserver flags (`--name=value` or `--name value`) apart.

    A line that a shell could not read either is handed on as it is, so that whoever starts Triton says what is wrong.
    """
    try:
        words = shlex.split(arguments)
    except ValueError:
        return SortedArguments(for_triton=arguments)
    flags = [word.partition("=") for word in _joined(words)]
    return SortedArguments(
        for_triton=shlex.join(
            f"{name}{sign}{value}" for name, sign, value in flags if name[2:] not in {_RESTRICTED, *_NEEDLESS}
        ),
        restricted_apis=tuple(value for name, _, value in flags if name[2:] == _RESTRICTED),
        remarks=tuple(
            f"{name} in SAGEMAKER_TRITON_ADDITIONAL_ARGS has no effect here: {_NEEDLESS[name[2:]]}"
            for name, _, _ in flags
            if name[2:] in _NEEDLESS
        ),
    )


def _joined(words: list[str]) -> Iterator[str]:
    """Each flag with its value as one word."""
    pending = ""
    for word in words:
        if word.startswith("--"):
            if pending:
                yield pending
            pending = word
        elif pending and "=" not in pending:
            yield f"{pending}={word}"
            pending = ""
        else:
            if pending:
                yield pending
                pending = ""
            yield word
    if pending:
        yield pending

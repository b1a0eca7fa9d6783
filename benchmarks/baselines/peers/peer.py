"""A peer: another server for the same model, started and asked as its documentation says."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Files:
    """What every peer serves: the very graph and tokenizer that the archive has."""

    graph: Path
    tokenizer: Path
    texts: Path


@dataclass(frozen=True, slots=True)
class Address:
    """Where a running peer is asked, and how a KServe v2 body for the archive becomes one for it."""

    port: int
    path: str
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: Callable[[str], str] = str
    pid: int | None = None
    """Its process, for the CPU time of it and its children; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Peer:
    """`start` yields the address once the peer answers, and ends it; `missing` says why it cannot be here, or "".

    `packages` are what its own environment needs, pinned, those first that give the peer its version; a peer without
    any runs in ours. `key` is how a command line names it.
    """

    key: str
    name: str
    start: Callable[[Files], AbstractContextManager[Address]]
    missing: Callable[[], str] = lambda: ""
    packages: tuple[str, ...] = ()
    is_quick: bool = False
    """Whether a quick run has it too: it needs no environment of its own and starts in a few seconds."""


def text_of(kserve: str) -> str:
    """The one text of a KServe v2 body."""
    (text,) = json.loads(kserve)["inputs"][0]["data"]
    return str(text)


def as_text(kserve: str) -> str:
    """A KServe v2 body as `{"text": ...}`."""
    return json.dumps({"text": text_of(kserve)})


def as_texts(kserve: str) -> str:
    """A KServe v2 body as `{"text": [...]}`."""
    return json.dumps({"text": [text_of(kserve)]})


def vector_in(document: Any) -> list[float]:
    """The embedding in a peer's answer, whatever surrounds it: the first list of at least 128 numbers.

    Raises:
        ValueError: there is none.
    """
    for found in _lists(document):
        if len(found) >= 128 and all(isinstance(each, int | float) for each in found):
            return found
    raise ValueError("there is no vector in the answer")


def _lists(document: Any) -> Iterator[list[Any]]:
    if isinstance(document, list):
        yield document
    if isinstance(document, list | dict):
        for each in document.values() if isinstance(document, dict) else document:
            yield from _lists(each)

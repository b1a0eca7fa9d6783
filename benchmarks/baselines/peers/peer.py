"""A peer: another server for the same model, started and asked as its documentation says."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path


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


@dataclass(frozen=True, slots=True)
class Peer:
    """`start` yields the address once the peer answers, and ends it; `missing` says why it cannot be here, or ""."""

    name: str
    start: Callable[[Files], AbstractContextManager[Address]]
    missing: Callable[[], str] = lambda: ""

"""What a task is: how its own payloads are read and its answers written, beside KServe, which every archive takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from server.codecs.http.media_type import MediaType
from server.codecs.kserve import kserve_json
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Payload


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what the writer of its answer has to know of it (the task's own business; None of KServe's)."""

    request: InferenceRequest
    memo: Any = None


Read: TypeAlias = Callable[[Payload, MediaType, StagedArchive], Asked | None]
"""Reads a body of one Content-Type. None: this body is not the task's; it is read as JSON or KServe instead.

Raises InvalidRequest, UnsupportedMediaType.
"""
ReadJson: TypeAlias = Callable[[Any, Payload, StagedArchive], Asked | None]
"""Reads a parsed JSON document. None: it is not of this task; it is read as a KServe request instead."""
LoadJson: TypeAlias = Callable[[bytes | memoryview], Any]
"""Parses a JSON document. Raises InvalidRequest."""
Write: TypeAlias = Callable[[InferenceResponse, Asked, StagedArchive], Answer]
"""Writes an answer. `Asked.memo` is None where the request was a KServe one. Raises InvalidRequest, InferenceFailed."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task's payloads. `writes` is by essence, the natural form first.

    `load_json` parses a JSON body for `read_json`: a task whose documents hold whole arrays has a faster way.
    """

    name: str
    read_json: ReadJson
    reads: Mapping[str, Read]
    writes: Mapping[str, Write]
    load_json: LoadJson = kserve_json.load


def _no_json(_document: Any, _payload: Payload, _archive: StagedArchive) -> None:
    return None


NO_TASK: Final = Task("", _no_json, MappingProxyType({}), MappingProxyType({}))
"""An archive that takes KServe requests only."""

"""Triton's failures in our words: one table for loads, one for inferences.

Only the text and the status decide, never a model's name: a model called BLOOM is not out of memory.
Messages are cleaned for callers: content-addressed names become the author's names, and folders of this host vanish.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from server.domain.errors import (
    DeviceFull,
    EngineLost,
    InferenceFailed,
    InvalidArchive,
    InvalidRequest,
    LoadFailed,
    NotReady,
    RoundhouseError,
    UnsupportedModel,
)
from server.domain.model import CPU, Device
from server.engines.out_of_memory import says_on_gpu, says_out_of_memory


class ServerGone(Exception):
    """The connection to tritonserver broke or cannot be made. Never leaves this package: it becomes EngineLost."""


class Refused(Exception):
    """Triton answered with an error. Never leaves this package. `status` is the HTTP status, or gRPC's as HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Subject:
    """What the refused call was about."""

    name: str
    """The step's name, as its author wrote it."""
    device: Device = CPU
    """Where the step mostly lies: the device that is full if something is."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Author's names by content-addressed names, of all steps in Triton."""


LOAD_TABLE: Final[tuple[tuple[str, type[RoundhouseError]], ...]] = (
    (r"unable to find backend library|unable to find '.*\.so'|backend .* is not supported", UnsupportedModel),
    (r"unsupported gpu id|KIND_GPU|GPU instances not supported|no GPUs? (?:is|are) available", UnsupportedModel),
    (r"^Unsupported: ", UnsupportedModel),
    (r"[Ss]tub process .* is not healthy|has exited unexpectedly", LoadFailed),
    (r"^(?:Invalid argument|Not found): ", InvalidArchive),
    (r"failed to poll|must specify|at least one version must be available", InvalidArchive),
    (r"[Ii]nvalid model configuration|the graph has no|NoSuchFile", InvalidArchive),
)
"""First match decides; anything else is LoadFailed. `^` is the start of Triton's reason, behind its preamble."""

INFER_TABLE: Final[tuple[tuple[int, str, type[RoundhouseError]], ...]] = (
    (400, r"", InvalidRequest),
    (404, r"^Request for unknown model", EngineLost),
    (501, r"decoupled", UnsupportedModel),
    (503, r"Exceeds maximum queue size|Request timeout expired", NotReady),
)
"""HTTP status and text; first match decides, anything else is InferenceFailed. A model may answer with any status
itself, so that only the words tell whether Triton speaks; 400 is taken at its word from both."""

_QUEUE_RETRY_S: Final = 1.0
_PREAMBLE: Final = re.compile(
    r"^(?:\[request id: [^\]]*\] )?(?:load failed for model '[^']*': (?:version \d+ is at UNAVAILABLE state: )?)?"
)
_CONTENT_NAME: Final = re.compile(r"rh_[0-9a-f]{32}(?:n\d+)?(?:_\d+)*")
_HOST_FOLDERS: Final = re.compile(r"(?<![\w:/.])/(?:[^\s/:'\"()]+/)+")
_UNHEALTHY: Final = re.compile(r"[Ss]tub process '(rh_[0-9a-f]{32}(?:n\d+)?)(?:_\d+)*' is not healthy")
_LONGEST: Final = 2000


def readable(text: str, names: Mapping[str, str]) -> str:
    """Triton's message for callers: without preamble, content-addressed names and folders of this host."""
    text = _PREAMBLE.sub("", text.strip()).rstrip(";\n ")
    text = _HOST_FOLDERS.sub("", text)
    text = _CONTENT_NAME.sub(lambda found: names.get(found.group()[:35], "another step"), text)
    return text[:_LONGEST]


def broken_model(refused: Refused) -> str | None:
    """The name in Triton of the model whose Python process died, if that is what the refusal says.

    Triton 2.51 neither starts such a process again, whatever its documentation says, nor can unload its model.
    """
    found = _UNHEALTHY.search(refused.text)
    return found.group(1) if found else None


def load_error(refused: Refused, subject: Subject) -> RoundhouseError:
    """The error of a refused load: DeviceFull, UnsupportedModel, InvalidArchive or LoadFailed."""
    text = readable(refused.text, subject.names)
    full = _device_full(text, subject)
    if full is not None:
        return full
    kind = next((kind for pattern, kind in LOAD_TABLE if re.search(pattern, text)), LoadFailed)
    return kind(f"step {subject.name!r} did not load in Triton: {text}")


def infer_error(refused: Refused, subject: Subject) -> RoundhouseError:
    """The error of a refused inference."""
    text = readable(refused.text, subject.names)
    full = _device_full(text, subject)
    if full is not None:
        return full
    kind = next(
        (kind for status, pattern, kind in INFER_TABLE if status == refused.status and re.search(pattern, text)),
        InferenceFailed,
    )
    if kind is NotReady:
        return NotReady(subject.name, _QUEUE_RETRY_S)
    return kind(f"step {subject.name!r}: {text}")


def _device_full(text: str, subject: Subject) -> DeviceFull | None:
    """Whether the text, without any model's name in it, says that memory ran out."""
    names = {subject.name, *subject.names.values()}
    if not says_out_of_memory(text, names):
        return None
    return DeviceFull(subject.name, subject.device if says_on_gpu(text, names) else CPU, said=text)

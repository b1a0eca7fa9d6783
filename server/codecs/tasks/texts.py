"""Texts in, numbers out: every archive with one text input, whatever its task (`text/plain`, `{"inputs": ...}`)."""

from types import MappingProxyType
from typing import Any, Final

from server.codecs.http import media_type
from server.codecs.http.media_type import MediaType
from server.codecs.kserve import kserve_json
from server.codecs.tasks.task import Asked, Task
from server.codecs.text import json_task, plain, task_reply, text_input
from server.domain.errors import InvalidRequest
from server.domain.inference import InferenceResponse
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Payload


def _read_plain(payload: Payload, content: MediaType, archive: StagedArchive) -> Asked | None:
    spec = text_input.text_input(archive.signature)
    if spec is None or _is_kserve(payload.body):
        return None
    charset = content.parameters.get("charset", "utf-8")
    return Asked(plain.decode(bytes(payload.body), charset, spec, archive))


def _read_json(document: Any, _payload: Payload, archive: StagedArchive) -> Asked | None:
    spec = text_input.text_input(archive.signature)
    if spec is None or not json_task.is_task(document):
        return None
    return Asked(json_task.decode(document, spec, archive))


def _write_json(response: InferenceResponse, _asked: Asked, archive: StagedArchive) -> Answer:
    return task_reply.plan(archive).encode(response, archive.name)


def _is_kserve(body: bytes | memoryview) -> bool:
    """Whether a `text/plain` body is a KServe request (browsers send JSON so) rather than a text."""
    if not bytes(body[:64]).lstrip().startswith(b"{"):
        return False
    try:
        document = kserve_json.load(body)
    except InvalidRequest:
        return False
    return isinstance(document, dict) and not json_task.is_task(document) and "inputs" in document


TASK: Final = Task(
    "text",
    read_json=_read_json,
    reads=MappingProxyType({media_type.TEXT: _read_plain}),
    writes=MappingProxyType({media_type.JSON: _write_json}),
)

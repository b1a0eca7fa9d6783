"""Which codec reads a payload: one visible table by Content-Type, then by what the archive takes.

| Content-Type | body |
|---|---|
| (a path of the generate extension) | `kserve/generate.py`, whatever the headers say |
| (header `Inference-Header-Content-Length`) | KServe v2 with binary tensors, whatever the Content-Type says |
| `application/vnd.sagemaker-triton.binary+json;json-header-size=N` | KServe v2 with binary tensors; N = 0: raw |
| what the archive's task reads (`tasks/table.py`): `text/plain`, `image/jpeg`, ... | as the task's file says |
| `application/x-npy` | one numpy array |
| anything else, and none | JSON: the task's own, or KServe v2; empty: raw |

JSON is recognised under any Content-Type, because SageMaker's clients send it as `application/octet-stream`, and
curl and browsers as whatever their default is.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from server.codecs import npy
from server.codecs.http import media_type, negotiation
from server.codecs.http.media_type import MediaType
from server.codecs.http.negotiation import Form
from server.codecs.kserve import generate, kserve_binary, kserve_json, kserve_reply, kserve_request
from server.codecs.tasks.table import task_of
from server.codecs.tasks.task import Asked, Task, Write
from server.domain.errors import InvalidRequest, NotAcceptable, UnsupportedMediaType
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Decoded, Payload

_READABLE: Final = (media_type.JSON, media_type.SAGEMAKER_BINARY, media_type.NPY)


def decode(payload: Payload, archive: StagedArchive) -> Decoded:
    """Read a request for `archive`, and settle how its answer is to be written.

    Raises:
        InvalidRequest: the payload does not decode, or does not fit the archive's signature.
        UnsupportedMediaType: no codec reads the Content-Type for this archive.
        NotAcceptable: no codec writes what Accept asks for.
    """
    decoded = generate.decode(payload, archive) if payload.is_generate else _by_content(payload, archive)
    if not payload.parameters:
        return decoded
    request = decoded.request
    return replace(decoded, request=replace(request, parameters={**request.parameters, **payload.parameters}))


def _by_content(payload: Payload, archive: StagedArchive) -> Decoded:
    if payload.json_header_size is not None:
        return _framed(payload, payload.json_header_size, archive)
    content = media_type.parse(payload.content_type)
    if content.essence == media_type.SAGEMAKER_BINARY:
        size = content.parameters.get(kserve_binary.HEADER_SIZE_PARAMETER)
        if size is not None:  # without a size there is nothing behind the JSON
            return _framed(payload, kserve_binary.parse_header_size(size), archive)
    task = task_of(archive)
    read = task.reads.get(content.essence)
    asked = None if read is None else read(payload, content, archive)
    if asked is not None:
        return _task(asked, task, payload, archive)
    if content.essence == media_type.NPY:
        return _npy(payload, archive)
    return _any(payload, content, task, archive)


def _npy(payload: Payload, archive: StagedArchive) -> Decoded:
    request = npy.decode(payload.body, archive)
    refusal = npy.refusal(archive, ())
    form = _form(request, payload, archive)
    if form is Form.NATURAL and not refusal:
        return Decoded(request, npy.NpyReply().encode)
    return _kserve({}, request, form, payload, archive)


def _any(payload: Payload, content: MediaType, task: Task, archive: StagedArchive) -> Decoded:
    if media_type.SAGEMAKER_BINARY in payload.content_type and content.essence != media_type.SAGEMAKER_BINARY:
        raise InvalidRequest(
            f"expect MIME type for binary data starts with {media_type.SAGEMAKER_BINARY}, got: {payload.content_type}"
        )
    if not len(payload.body):
        if len(archive.signature.inputs) != 1:
            raise InvalidRequest("the request body is empty")
        return _framed(payload, 0, archive)
    try:
        document = task.load_json(payload.body)
    except InvalidRequest as error:
        if content.essence in ("", media_type.JSON) or _looks_like_object(payload.body):
            raise
        raise UnsupportedMediaType(
            f"Content-Type {payload.content_type!r} is not read for archive '{archive.name}'; "
            f"send {', '.join(dict.fromkeys((*_READABLE, *task.reads)))}, or KServe JSON under any Content-Type"
        ) from error
    asked = task.read_json(document, payload, archive)
    if asked is not None:
        return _task(asked, task, payload, archive)
    request = kserve_request.decode(document, memoryview(b""), archive)
    return _kserve(document, request, _form(request, payload, archive), payload, archive)


def _framed(payload: Payload, header_size: int, archive: StagedArchive) -> Decoded:
    """Read a body whose JSON part has a known size; 0 makes it a raw request."""
    head, tail = kserve_binary.split(payload.body, header_size)
    if head:
        document = kserve_json.load(head)
        request = kserve_request.decode(document, tail, archive)
        return _kserve(document, request, _form(request, payload, archive), payload, archive)
    tensor = kserve_binary.raw_input(payload.body, archive)
    request = InferenceRequest({tensor.name: tensor})
    form = _form(request, payload, archive)
    if form is Form.NPY:
        return Decoded(request, npy.NpyReply().encode)
    if isinstance(form, str):
        return _kserve({}, request, form, payload, archive)
    plan = kserve_reply.raw_plan(archive.signature, form, payload.json_header_size is not None)
    return Decoded(request, plan.encode)


def _form(request: InferenceRequest, payload: Payload, archive: StagedArchive) -> Form | str:
    """How a KServe request's answer is to be written; of the task's types only those that KServe has not itself."""
    if not payload.accept:
        return Form.NATURAL
    own = [essence for essence in task_of(archive).writes if essence not in (media_type.JSON, media_type.NPY)]
    return negotiation.choose(payload.accept, npy.refusal(archive, request.outputs), own)


def _kserve(
    document: Mapping[str, Any], request: InferenceRequest, form: Form | str, payload: Payload, archive: StagedArchive
) -> Decoded:
    if isinstance(form, str):
        return _written(Asked(request), task_of(archive).writes[form], archive)
    plan = kserve_reply.plan(document, archive.signature, form, payload.json_header_size is not None)
    if form is not Form.NPY:
        return Decoded(request, plan.encode)
    if any(wish.classes for wish in plan.wishes.values()):
        raise NotAcceptable(f"a classification cannot be written as {media_type.NPY}")
    return Decoded(request, npy.NpyReply("".join(request.outputs)).encode)


def _task(asked: Asked, task: Task, payload: Payload, archive: StagedArchive) -> Decoded:
    form: Form | str = Form.NATURAL
    if payload.accept:
        form = negotiation.choose(payload.accept, npy.refusal(archive, ()), task.writes)
    if form is Form.NATURAL:
        form = next(iter(task.writes))
    if isinstance(form, str):
        return _written(asked, task.writes[form], archive)
    return _kserve({}, asked.request, form, payload, archive)


def _written(asked: Asked, write: Write, archive: StagedArchive) -> Decoded:
    return Decoded(asked.request, partial(_encode, asked, write, archive))


def _encode(
    asked: Asked, write: Write, archive: StagedArchive, response: InferenceResponse, _model_name: str
) -> Answer:
    return write(response, asked, archive)


def _looks_like_object(body: bytes | memoryview) -> bool:
    return bytes(body[:64]).lstrip().startswith(b"{")

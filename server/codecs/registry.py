"""Which codec reads a payload: one visible table by Content-Type, then by what the archive takes.

| Content-Type | body |
|---|---|
| (header `Inference-Header-Content-Length`) | KServe v2 with binary tensors, whatever the Content-Type says |
| `application/vnd.sagemaker-triton.binary+json;json-header-size=N` | KServe v2 with binary tensors; N = 0: raw |
| `application/x-npy` | one numpy array |
| `text/plain` | one text, where the archive takes texts |
| anything else, and none | JSON: KServe v2, or `{"inputs": "text"}` where the archive takes texts; empty: raw |

JSON is recognised under any Content-Type, because SageMaker's clients send it as `application/octet-stream`, and
curl and browsers as whatever their default is.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from server.codecs import (
    json_task,
    kserve_binary,
    kserve_json,
    kserve_reply,
    kserve_request,
    media_type,
    negotiation,
    npy,
    task_reply,
    text,
    text_input,
)
from server.codecs.media_type import MediaType
from server.codecs.negotiation import Form
from server.domain.errors import InvalidRequest, UnsupportedMediaType
from server.domain.inference import InferenceRequest
from server.domain.model import StagedArchive
from server.domain.payload import Decoded, Payload

_Codec: TypeAlias = Callable[[Payload, MediaType, StagedArchive], Decoded]
_READABLE: Final = f"{media_type.JSON}, {media_type.SAGEMAKER_BINARY}, {media_type.NPY}"


def decode(payload: Payload, archive: StagedArchive) -> Decoded:
    """Read a request for `archive`, and settle how its answer is to be written.

    Raises:
        InvalidRequest: the payload does not decode, or does not fit the archive's signature.
        UnsupportedMediaType: no codec reads the Content-Type, or writes the Accept, for this archive.
    """
    if payload.json_header_size is not None:
        return _framed(payload, payload.json_header_size, archive)
    content = media_type.parse(payload.content_type)
    return _CODEC_BY_ESSENCE.get(content.essence, _any)(payload, content, archive)


def _sagemaker_binary(payload: Payload, content: MediaType, archive: StagedArchive) -> Decoded:
    size = content.parameters.get(kserve_binary.HEADER_SIZE_PARAMETER)
    if size is None:  # without a size there is nothing behind the JSON
        return _any(payload, content, archive)
    return _framed(payload, kserve_binary.parse_header_size(size), archive)


def _npy(payload: Payload, _: MediaType, archive: StagedArchive) -> Decoded:
    request = npy.decode(payload.body, archive)
    refusal = npy.refusal(archive, ())
    form = negotiation.choose(payload.accept, refusal)
    if form is Form.NATURAL and not refusal:
        return Decoded(request, npy.NpyReply().encode)
    return _kserve({}, request, form, payload, archive)


def _text(payload: Payload, content: MediaType, archive: StagedArchive) -> Decoded:
    spec = text_input.text_input(archive.signature)
    if spec is None:
        return _any(payload, content, archive)
    if _looks_like_object(payload.body):
        document = _kserve_document(payload.body)
        if document is not None:
            return _json(document, payload, archive)
    request = text.decode(bytes(payload.body), content.parameters.get("charset", "utf-8"), spec, archive)
    return _task(request, payload, archive)


def _any(payload: Payload, content: MediaType, archive: StagedArchive) -> Decoded:
    if media_type.SAGEMAKER_BINARY in payload.content_type and content.essence != media_type.SAGEMAKER_BINARY:
        raise InvalidRequest(
            f"expect MIME type for binary data starts with {media_type.SAGEMAKER_BINARY}, got: {payload.content_type}"
        )
    if not len(payload.body):
        if len(archive.signature.inputs) != 1:
            raise InvalidRequest("the request body is empty")
        return _framed(payload, 0, archive)
    try:
        document = kserve_json.load(payload.body)
    except InvalidRequest as error:
        if content.essence in ("", media_type.JSON) or _looks_like_object(payload.body):
            raise
        raise UnsupportedMediaType(
            f"Content-Type {payload.content_type!r} is not read for archive '{archive.name}'; "
            f"send {_readable(archive)}, or KServe JSON under any Content-Type"
        ) from error
    return _json(document, payload, archive)


_CODEC_BY_ESSENCE: Final[Mapping[str, _Codec]] = MappingProxyType(
    {
        media_type.SAGEMAKER_BINARY: _sagemaker_binary,
        media_type.NPY: _npy,
        media_type.TEXT: _text,
        media_type.JSON: _any,
        media_type.OCTET_STREAM: _any,
    }
)


def _framed(payload: Payload, header_size: int, archive: StagedArchive) -> Decoded:
    """Read a body whose JSON part has a known size; 0 makes it a raw request."""
    head, tail = kserve_binary.split(payload.body, header_size)
    if head:
        document = kserve_json.load(head)
        request = kserve_request.decode(document, tail, archive)
        form = negotiation.choose(payload.accept, npy.refusal(archive, request.outputs) if payload.accept else "")
        return _kserve(document, request, form, payload, archive)
    tensor = kserve_binary.raw_input(payload.body, archive)
    request = InferenceRequest({tensor.name: tensor})
    form = negotiation.choose(payload.accept, npy.refusal(archive, ()))
    if form is Form.NPY:
        return Decoded(request, npy.NpyReply().encode)
    plan = kserve_reply.raw_plan(archive.signature, form, payload.json_header_size is not None)
    return Decoded(request, plan.encode)


def _json(document: Any, payload: Payload, archive: StagedArchive) -> Decoded:
    if json_task.is_task(document):
        spec = text_input.text_input(archive.signature)
        if spec is not None:
            return _task(json_task.decode(document, spec, archive), payload, archive)
    request = kserve_request.decode(document, memoryview(b""), archive)
    form = negotiation.choose(payload.accept, npy.refusal(archive, request.outputs) if payload.accept else "")
    return _kserve(document, request, form, payload, archive)


def _kserve(
    document: Mapping[str, Any], request: InferenceRequest, form: Form, payload: Payload, archive: StagedArchive
) -> Decoded:
    plan = kserve_reply.plan(document, archive.signature, form, payload.json_header_size is not None)
    if form is not Form.NPY:
        return Decoded(request, plan.encode)
    if any(wish.classes for wish in plan.wishes.values()):
        raise UnsupportedMediaType(f"a classification cannot be written as {media_type.NPY}")
    return Decoded(request, npy.NpyReply("".join(request.outputs)).encode)


def _task(request: InferenceRequest, payload: Payload, archive: StagedArchive) -> Decoded:
    form = negotiation.choose(payload.accept, npy.refusal(archive, ()) if payload.accept else "")
    if form in (Form.NATURAL, Form.JSON):
        return Decoded(request, task_reply.plan(archive).encode)
    return _kserve({}, request, form, payload, archive)


def _looks_like_object(body: bytes | memoryview) -> bool:
    return bytes(body[:64]).lstrip().startswith(b"{")


def _kserve_document(body: bytes | memoryview) -> object:
    """The KServe request that a `text/plain` body is (browsers send JSON so); None where it is just a text."""
    try:
        document = kserve_json.load(body)
    except InvalidRequest:
        return None
    return document if isinstance(document, dict) and not json_task.is_task(document) and "inputs" in document else None


def _readable(archive: StagedArchive) -> str:
    return _READABLE if text_input.text_input(archive.signature) is None else f"{_READABLE}, {media_type.TEXT}"

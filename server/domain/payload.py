"""Bytes on their way in and out of the codecs. Surfaces make them from HTTP, and write them back to HTTP."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from server.domain.inference import NO_PARAMETERS, InferenceRequest, InferenceResponse, Parameter

Body: TypeAlias = tuple[bytes | memoryview, ...]
"""An HTTP body in pieces, so that large tensors need not be copied into one string."""

InferenceType: TypeAlias = Literal["infer", "generate", "generate_stream"]
"""What a body without a path of its own asks for: an inference, or Triton's generate extension, at once or streamed."""

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Payload:
    """A request body, already inflated, with the headers that say how to read it and how to answer it.

    `content_type` and `accept` are the header values as sent ("" where absent).
    `json_header_size` is KServe's `Inference-Header-Content-Length`; `None` where absent. On SageMaker surfaces the
    size comes inside the Content-Type instead, and this is `None`.
    """

    body: bytes | memoryview
    content_type: str = ""
    accept: str = ""
    json_header_size: int | None = None
    is_stream: bool = False
    """Whether the caller reads a stream of answers; a model may then send what it has on the way."""
    is_generate: bool = False
    """Whether the body is of the generate extension (`codecs/kserve/generate.py`), whatever the Content-Type says."""
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: NO_PARAMETERS)
    """What came beside the body for the model (session, custom attributes); stronger than the body's parameters."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An encoded answer: the body's pieces, its Content-Type, and further headers (lower case names)."""

    body: Body
    content_type: str
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a codec made of a payload: the request, and how its answer wants to be written.

    `encode(response, model_name)` raises UnsupportedMediaType or InvalidRequest where the response cannot be written as
    was asked, and InferenceFailed where the model answered what no format can hold.
    """

    request: InferenceRequest
    encode: Callable[[InferenceResponse, str], Answer]
    is_only_one: bool = False
    """Whether an answer that is not streamed has to be the model's only response; otherwise its last one is taken."""


@dataclass(frozen=True, slots=True)
class Framed:
    """A KServe v2 request as it travels: its JSON part, and the data of its binary tensors back to back."""

    head: bytes
    tail: bytes | memoryview


@dataclass(frozen=True, slots=True)
class FramedAnswer:
    """The answer to one: its JSON part, read, and the data of its binary tensors back to back."""

    document: Mapping[str, Any]
    tail: bytes | memoryview

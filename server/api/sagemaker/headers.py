"""SageMaker's headers, and what the container and the runtime surface do alike with them.

Not listed and so ignored, as the contract asks: Target-Variant, Target-Container-Hostname, Inference-Id,
Inference-Component, Enable-Explanations, Session-Id, Model-Cache-Setting.
"""

from typing import Final

from server.api.surface import Bytes, HeaderMap, RawHeaders, text
from server.domain.payload import Payload

TARGET_MODEL: Final = b"x-amzn-sagemaker-target-model"
CUSTOM_ATTRIBUTES: Final = b"x-amzn-sagemaker-custom-attributes"
STREAM_ACCEPT: Final = b"x-amzn-sagemaker-accept"
STREAM_CONTENT_TYPE: Final = b"x-amzn-sagemaker-content-type"
INVOKED_VARIANT: Final = b"x-amzn-invoked-production-variant"


def target_model(headers: HeaderMap) -> str:
    """Return the TargetModel, "" where none was sent. It is UTF-8 where it is not plain ASCII."""
    return headers.get(TARGET_MODEL, b"").decode("utf-8", errors="replace").strip()


def payload(headers: HeaderMap, body: Bytes) -> Payload:
    """Say how to read a body: by the Content-Type alone, which also carries the size of a binary request's JSON."""
    return Payload(body, text(headers, b"content-type"), text(headers, b"accept"))


def echoed(headers: HeaderMap) -> RawHeaders:
    """Return the headers that go back as they came."""
    attributes = headers.get(CUSTOM_ATTRIBUTES)
    return [] if attributes is None else [(CUSTOM_ATTRIBUTES, attributes)]

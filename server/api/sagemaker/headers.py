"""SageMaker's headers, and what the container and the runtime surface do alike with them.

Two of them reach the model as request parameters: `session_id` and `custom_attributes`. The Inference-Id does not: it
names a request for those who capture it, so no answer may depend on it, and as a parameter it would make all requests
differ, for the response cache too. Ignored as the contract asks, too: Target-Variant, Target-Container-Hostname,
Inference-Component, Enable-Explanations, Model-Cache-Setting.
"""

from collections.abc import Mapping
from typing import Final

from server.api.sagemaker.sessions import SESSION_ID, session_id
from server.api.surface import HeaderMap, text
from server.domain.inference import NO_PARAMETERS, Parameter

TARGET_MODEL: Final = b"x-amzn-sagemaker-target-model"
CUSTOM_ATTRIBUTES: Final = b"x-amzn-sagemaker-custom-attributes"
STREAM_ACCEPT: Final = b"x-amzn-sagemaker-accept"
STREAM_CONTENT_TYPE: Final = b"x-amzn-sagemaker-content-type"
INVOKED_VARIANT: Final = b"x-amzn-invoked-production-variant"


def target_model(headers: HeaderMap) -> str:
    """Return the TargetModel, "" where none was sent. It is UTF-8 where it is not plain ASCII."""
    return headers.get(TARGET_MODEL, b"").decode("utf-8", errors="replace").strip()


def for_model(headers: HeaderMap, is_new_session_allowed: bool = True) -> Mapping[str, Parameter]:
    """Return what the model is told of the headers. Raises InvalidHeader for a Session-Id that is none."""
    if not (SESSION_ID in headers or CUSTOM_ATTRIBUTES in headers):
        return NO_PARAMETERS
    parameters: dict[str, Parameter] = {}
    if SESSION_ID in headers:
        parameters["session_id"] = session_id(headers, is_new_session_allowed)
    if CUSTOM_ATTRIBUTES in headers:
        parameters["custom_attributes"] = text(headers, CUSTOM_ATTRIBUTES)
    return parameters

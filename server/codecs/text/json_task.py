"""`{"inputs": "text"}` and `{"inputs": ["text", ...]}`, as Hugging Face's containers take them.

For archives that take texts. `parameters` become request parameters; other keys (such as `options`) are ignored.
The answer has the form of `task_reply.py`: one row per text, for a single text as well.
"""

from collections.abc import Mapping
from typing import Any, TypeGuard

from server.codecs.kserve import kserve_request
from server.codecs.text import text_input
from server.domain.errors import InvalidRequest
from server.domain.inference import InferenceRequest
from server.domain.model import StagedArchive, TensorSpec


def is_task(document: object) -> TypeGuard[dict[str, Any]]:
    """Whether a JSON document is of this kind. A KServe request has a list of objects as its `inputs`."""
    if not isinstance(document, dict):
        return False
    inputs = document.get("inputs")
    return isinstance(inputs, str) or (
        isinstance(inputs, list) and not any(isinstance(entry, dict) for entry in inputs)
    )


def decode(document: Mapping[str, Any], spec: TensorSpec, archive: StagedArchive) -> InferenceRequest:
    """Make the request for one or several texts.

    Raises:
        InvalidRequest: no texts, too many, something that is not a string, or wrong parameters.
    """
    inputs = document["inputs"]
    texts = [inputs] if isinstance(inputs, str) else inputs
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidRequest(f"'inputs' must hold strings; entry {index} is {_kind(text)}")
    return InferenceRequest(
        {spec.name: text_input.tensor([_utf8(index, text) for index, text in enumerate(texts)], spec, archive)},
        parameters=kserve_request.request_parameters(document.get("parameters")),
    )


def _utf8(index: int, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"entry {index} of 'inputs' is not Unicode text: {error.reason}") from error


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), "something else")

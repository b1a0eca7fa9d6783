"""The words of a text-to-image request, and the tensors that they are: JSON values or texts of a form to an input each.

The names are diffusers' and those of Hugging Face's and SageMaker JumpStart's containers. Ranges are the model's
business; what is checked here is that a value is of its kind at all.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np

from server.codecs.kserve import bytes_elements
from server.domain.errors import InvalidRequest
from server.domain.inference import NUMPY_BY_DATATYPE, Array, Tensor


class Word(NamedTuple):
    """One parameter: the input it sets."""

    tensor: str
    datatype: str


PARAMETERS: Final[Mapping[str, Word]] = MappingProxyType(
    {
        "prompt": Word("PROMPT", "BYTES"),
        "negative_prompt": Word("NEGATIVE_PROMPT", "BYTES"),
        "num_inference_steps": Word("STEPS", "INT32"),
        "steps": Word("STEPS", "INT32"),
        "guidance_scale": Word("GUIDANCE", "FP32"),
        "seed": Word("SEED", "INT64"),
        "height": Word("HEIGHT", "INT32"),
        "width": Word("WIDTH", "INT32"),
        "num_images": Word("NUM_IMAGES", "INT32"),
        "num_images_per_prompt": Word("NUM_IMAGES", "INT32"),
        "scheduler": Word("SCHEDULER", "BYTES"),
        "strength": Word("STRENGTH", "FP32"),
        "progress_every": Word("PROGRESS_EVERY", "INT32"),
        "preview_every": Word("PREVIEW_EVERY", "INT32"),
    }
)
PICTURES: Final[Mapping[str, str]] = MappingProxyType({"image": "IMAGE", "mask": "MASK", "mask_image": "MASK"})
"""Words for pictures, and the inputs they set."""


def tensors(words: Mapping[str, Any]) -> dict[str, Tensor]:
    """Make the inputs that `words` set. None means: not said.

    Raises:
        InvalidRequest: a word that is not known, is said twice under two names, or has a value of another kind.
    """
    found: dict[str, Tensor] = {}
    for name, value in words.items():
        word = PARAMETERS.get(name)
        if word is None:
            known = ", ".join((*PARAMETERS, *PICTURES))
            raise InvalidRequest(f"parameter '{name}' is not known; known are: {known}")
        if value is None:
            continue
        if word.tensor in found:
            raise InvalidRequest(f"'{name}' says again what another parameter says")
        found[word.tensor] = Tensor(word.tensor, word.datatype, _array(name, value, word.datatype))
    return found


def from_texts(texts: Mapping[str, str]) -> dict[str, Any]:
    """The values that a form's texts stand for: numbers where numbers are wanted; empty fields say nothing.

    Raises:
        InvalidRequest: a text that should be a number and is none.
    """
    return {name: _parsed(name, text) for name, text in texts.items() if text or name == "prompt"}


def number(name: str, value: int, datatype: str) -> Tensor:
    """A tensor of one integer."""
    return Tensor(name, datatype, np.array([value], NUMPY_BY_DATATYPE[datatype]))


def text(name: str, value: str, tensor: str) -> Tensor:
    """A tensor of one text; `name` is what the caller calls it. Raises InvalidRequest for what is not Unicode."""
    return Tensor(tensor, "BYTES", _utf8(name, value))


def _utf8(name: str, value: str) -> Array:
    try:
        return bytes_elements.object_array([value.encode()], (1,))
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"'{name}' is not Unicode text: {error.reason}") from error


def _parsed(name: str, text: str) -> Any:
    word = PARAMETERS.get(name)
    if word is None or word.datatype == "BYTES":
        return text
    try:
        return float(text) if word.datatype == "FP32" else int(text)
    except ValueError as error:
        kind = "a number" if word.datatype == "FP32" else "a whole number"
        raise InvalidRequest(f"'{name}' must be {kind}, got {text[:40]!r}") from error


def _array(name: str, value: object, datatype: str) -> Array:
    if datatype == "BYTES":
        if not isinstance(value, str):
            raise InvalidRequest(f"'{name}' must be a string")
        return _utf8(name, value)
    if datatype == "FP32":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidRequest(f"'{name}' must be a number")
        return _float(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"'{name}' must be a whole number")
    dtype = NUMPY_BY_DATATYPE[datatype]
    if not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        raise InvalidRequest(f"'{name}' does not fit {datatype}: it is too large")
    return np.array([value], dtype)


def _float(value: float) -> Array:
    """FP32; what does not fit becomes infinite, and the model says what it takes."""
    try:
        wide = np.array([value], np.float64)
    except OverflowError:
        wide = np.array([np.inf])
    with np.errstate(over="ignore"):
        return wide.astype(np.float32)

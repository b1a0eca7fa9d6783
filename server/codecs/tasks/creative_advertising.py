"""Advertisements from a product's picture: JSON with arrays as AWS's walk-through sends it, and HTML forms.

JSON: `{"image": [[[r, g, b], ...], ...], "mask": [[...], ...], "prompt_fr": "...", "prompt_bg": "...",
"negative_prompt": "..."}`; `multipart/form-data`: files `image` and `mask`, the rest as fields. In JSON, pictures may
also be base64 of an image file. `mask` (white or 1 where the product is) and `negative_prompt` may be left out, and
`num_inference_steps`, `guidance_scale`, `seed` and `scheduler` may be said.

| Accept | answer, all pictures of the image's size |
|---|---|
| `application/json` (natural) | `[generated, background, mask, post-processed]`, nested lists of levels |
| `image/png` | the post-processed picture |
| `application/x-npy` | uint8 [4, height, width, 3], in that order |
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from server.codecs import npy
from server.codecs.http import media_type, multipart
from server.codecs.http.media_type import MediaType
from server.codecs.images import image_files, json_arrays, painting, pictures
from server.codecs.kserve import kserve_json
from server.codecs.tasks.outputs import output
from server.codecs.tasks.task import Asked, Task
from server.domain.errors import InvalidRequest
from server.domain.inference import Array, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Payload

PNG: Final = "image/png"
ANSWERS: Final = ("GENERATED", "BACKGROUND", "PRODUCT_MASK", "POSTPROCESSED")
_PROMPTS: Final = ("prompt_fr", "prompt_bg")
_PAINTING: Final = ("negative_prompt", "num_inference_steps", "steps", "guidance_scale", "seed", "scheduler")
_PICTURES: Final = {"image": "IMAGE", "mask": "MASK"}


def _read_json(document: Any, _payload: Payload, _archive: StagedArchive) -> Asked | None:
    if not isinstance(document, dict) or isinstance(document.get("inputs"), list):
        return None  # a KServe request
    words = {name: value for name, value in document.items() if value is not None}
    found = {name: pictures.from_json(words.pop(name), _mode(name), name) for name in _PICTURES if name in words}
    return _asked(words, found)


def _read_form(payload: Payload, content: MediaType, _archive: StagedArchive) -> Asked | None:
    form = multipart.read_form(payload.body, content)
    if strange := sorted(set(form.files) - set(_PICTURES)):
        raise InvalidRequest(f"the form's file '{strange[0]}' is not known; known are: {', '.join(_PICTURES)}")
    found = {name: pictures.from_file(body, _mode(name), name) for name, body in form.files.items() if body}
    return _asked(painting.from_texts({name: text for name, text in form.texts.items() if text}), found)


def _asked(words: Mapping[str, Any], found: Mapping[str, Array]) -> Asked:
    known = (*_PROMPTS, *_PAINTING)
    if strange := sorted(set(words) - set(known)):
        raise InvalidRequest(f"'{strange[0]}' is not known; known are: {', '.join((*_PICTURES, *known))}")
    if "image" not in found:
        raise InvalidRequest("'image' is missing: the product's picture")
    tensors = [Tensor(_PICTURES[name], "UINT8", array) for name, array in found.items()]
    tensors += [_prompt(name, words.get(name)) for name in _PROMPTS]
    tensors += painting.tensors({name: value for name, value in words.items() if name in _PAINTING}).values()
    return Asked(InferenceRequest({tensor.name: tensor for tensor in tensors}))


def _prompt(name: str, value: object) -> Tensor:
    if not isinstance(value, str) or not value.strip():
        what = "the product" if name == "prompt_fr" else "what is to be behind it"
        raise InvalidRequest(f"'{name}' is missing: a text that describes {what}")
    return painting.text(name, value, name.upper())


def _write_json(response: InferenceResponse, _asked: Asked, _archive: StagedArchive) -> Answer:
    return Answer((kserve_json.dump([_picture(response, name) for name in ANSWERS]),), media_type.JSON)


def _write_png(response: InferenceResponse, _asked: Asked, _archive: StagedArchive) -> Answer:
    return Answer((image_files.png(_picture(response, "POSTPROCESSED")),), PNG)


def _write_npy(response: InferenceResponse, _asked: Asked, archive: StagedArchive) -> Answer:
    colours = [_picture(response, name) for name in ANSWERS]
    stacked = np.stack([array if array.ndim == 3 else np.repeat(array[:, :, None], 3, axis=2) for array in colours])
    return npy.NpyReply("PICTURES").encode(InferenceResponse((Tensor("PICTURES", "UINT8", stacked),)), archive.name)


def _picture(response: InferenceResponse, name: str) -> Array:
    return np.ascontiguousarray(output(response, name))


def _mode(name: str) -> Any:
    return "RGB" if name == "image" else "L"


TASK: Final = Task(
    "creative-advertising",
    read_json=_read_json,
    reads=MappingProxyType({multipart.ESSENCE: _read_form}),
    writes=MappingProxyType({media_type.JSON: _write_json, PNG: _write_png, media_type.NPY: _write_npy}),
    load_json=partial(json_arrays.load, keys=tuple(_PICTURES)),
)

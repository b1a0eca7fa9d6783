"""Images from text: JSON as Hugging Face's and JumpStart's containers take it, and HTML forms with pictures.

| request | |
|---|---|
| `{"inputs": "a cat", "parameters": {"seed": 1, ...}}`, `{"prompt": "a cat", "seed": 1, ...}` | JSON |
| `multipart/form-data` with fields `prompt`, `seed`, ... and files `image`, `mask` | form |

`image` and `mask` may also be base64 of an image file, or nested lists, in JSON. Parameters: `images/painting.py`.

| Accept | answer |
|---|---|
| `application/json` (natural) | `{"images": [base64 of a PNG, ...], "parameters": {"seed": 1, ...}}` |
| `image/png` | the one image |
| `application/x-npy` | uint8 [images, height, width, 3] |

In a stream, each step before is one line of JSON: `{"progress": {"step": 3, "total": 20}, "preview": base64}`.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from server.codecs import npy
from server.codecs.http import media_type, multipart
from server.codecs.http.media_type import MediaType
from server.codecs.images import image_files, json_arrays, painting, pictures
from server.codecs.kserve import kserve_json
from server.codecs.tasks.outputs import output
from server.codecs.tasks.task import Asked, Task
from server.domain.errors import InvalidRequest, NotAcceptable
from server.domain.inference import Array, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Payload

PNG: Final = "image/png"
SEED_HEADER: Final = "x-roundhouse-seed"
_TOLD_BACK: Final = frozenset(painting.PARAMETERS) - {"prompt", "seed", "progress_every", "preview_every"}


def _read_json(document: Any, payload: Payload, archive: StagedArchive) -> Asked | None:
    if not isinstance(document, dict):
        return None
    inputs = document.get("inputs")
    if isinstance(inputs, list) and any(isinstance(entry, dict) for entry in inputs):
        return None  # a KServe request
    words = {name: value for name, value in document.items() if name not in ("inputs", "parameters")}
    parameters = document.get("parameters")
    if not isinstance(parameters, dict | None):
        raise InvalidRequest("'parameters' must be a JSON object")
    words.update(parameters or {})
    if inputs is not None:
        if "prompt" in words:
            raise InvalidRequest("send the prompt as 'inputs' or as 'prompt', not as both")
        words["prompt"] = _only_prompt(inputs)
    found = {
        painting.PICTURES[name]: pictures.from_json(words.pop(name), _mode(name), name)
        for name in painting.PICTURES
        if words.get(name) is not None
    }
    return _asked(
        {name: value for name, value in words.items() if name not in painting.PICTURES}, found, payload, archive
    )


def _read_form(payload: Payload, content: MediaType, archive: StagedArchive) -> Asked | None:
    form = multipart.read_form(payload.body, content)
    found = {}
    for name, body in form.files.items():
        if name not in painting.PICTURES:
            raise InvalidRequest(f"the form's file '{name}' is not known; known are: {', '.join(painting.PICTURES)}")
        if body:  # a form sends an empty file where none was chosen
            found[painting.PICTURES[name]] = pictures.from_file(body, _mode(name), name)
    texts = dict(form.texts)
    if "inputs" in texts:
        texts["prompt"] = texts.pop("inputs")
    for name in painting.PICTURES:
        if text := texts.pop(name, ""):
            found[painting.PICTURES[name]] = pictures.from_json(text, _mode(name), name)
    return _asked(painting.from_texts(texts), found, payload, archive)


def _asked(words: Mapping[str, Any], found: Mapping[str, Array], payload: Payload, archive: StagedArchive) -> Asked:
    if not isinstance(words.get("prompt"), str):
        raise InvalidRequest("a prompt is missing: send 'prompt' or 'inputs', a string")
    tensors = painting.tensors(words)
    tensors |= {name: Tensor(name, "UINT8", array) for name, array in found.items()}
    if not payload.is_stream:
        tensors.pop("PROGRESS_EVERY", None)
    elif "PROGRESS_EVERY" not in tensors:
        tensors["PROGRESS_EVERY"] = painting.number("PROGRESS_EVERY", 1, "INT32")
    taken = {spec.name for spec in archive.signature.inputs}
    if strange := sorted(set(tensors) - taken - {"PROGRESS_EVERY"}):
        raise InvalidRequest(f"archive '{archive.name}' does not take {', '.join(strange)}")
    count = tensors.get("NUM_IMAGES")
    if count is not None and int(count.data[0]) > 1 and media_type.accepted(payload.accept)[:1] == (PNG,):
        raise _several(int(count.data[0]))
    inputs = {name: tensor for name, tensor in tensors.items() if name in taken}
    memo = {name: value for name, value in words.items() if name in _TOLD_BACK and value is not None}
    return Asked(InferenceRequest(inputs), memo)


def _write_json(response: InferenceResponse, asked: Asked, _archive: StagedArchive) -> Answer:
    if (line := _progress(response)) is not None:
        return line
    seeds = output(response, "SEEDS").tolist()
    told = {**(asked.memo or {}), "seed": seeds[0], **({"seeds": seeds} if len(seeds) > 1 else {})}
    painted = [pictures.base64_png(image) for image in output(response, "IMAGES")]
    return Answer((kserve_json.dump({"images": painted, "parameters": told}),), media_type.JSON)


def _write_png(response: InferenceResponse, _asked: Asked, _archive: StagedArchive) -> Answer:
    if (line := _progress(response)) is not None:
        return line
    painted = output(response, "IMAGES")
    if len(painted) != 1:
        raise _several(len(painted))
    seed = str(int(output(response, "SEEDS")[0]))
    return Answer((image_files.png(painted[0]),), PNG, {SEED_HEADER: seed})


def _write_npy(response: InferenceResponse, _asked: Asked, archive: StagedArchive) -> Answer:
    if (line := _progress(response)) is not None:
        return line
    return npy.NpyReply("IMAGES").encode(response, archive.name)


def _progress(response: InferenceResponse) -> Answer | None:
    """A line about a step, where the response is not the result yet."""
    found = {tensor.name: tensor.data for tensor in response.outputs}
    if "IMAGES" in found or "PROGRESS" not in found:
        return None
    step, total = found["PROGRESS"].tolist()
    line: dict[str, Any] = {"progress": {"step": step, "total": total}}
    if "PREVIEW" in found:
        line["preview"] = pictures.base64_png(found["PREVIEW"])
    return Answer((kserve_json.dump(line), b"\n"), media_type.JSON)


def _only_prompt(inputs: object) -> object:
    if isinstance(inputs, list):
        if len(inputs) != 1:
            raise InvalidRequest(f"one prompt a request, got {len(inputs)}; send several requests, or use num_images")
        return inputs[0]
    return inputs


def _several(count: int) -> NotAcceptable:
    return NotAcceptable(
        f"{PNG} holds one image, and there are {count}: accept {media_type.JSON} or {media_type.NPY}, or ask for one"
    )


def _mode(name: str) -> Any:
    return "RGB" if painting.PICTURES[name] == "IMAGE" else "L"


TASK: Final = Task(
    "text-to-image",
    read_json=_read_json,
    reads=MappingProxyType({multipart.ESSENCE: _read_form}),
    writes=MappingProxyType({media_type.JSON: _write_json, PNG: _write_png, media_type.NPY: _write_npy}),
    load_json=partial(json_arrays.load, keys=tuple(painting.PICTURES)),
)

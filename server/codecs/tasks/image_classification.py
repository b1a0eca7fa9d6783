"""Pictures in, the likeliest labels out.

| body | as |
|---|---|
| a JPEG, PNG, WebP, BMP, TIFF or binary PNM file | `image/*`, or `application/octet-stream` |
| an array, uint8 [height, width, 3] | `application/x-npy` |
| `{"inputs": "<base64>", "parameters": {"top_k": 3}}`, or a list of base64 strings | JSON |

The answer is `[{"label": "espresso", "score": 0.98}, ...]`, the five likeliest (a list of such lists for a list), as
Hugging Face's image classification answers; `Accept: application/x-npy` gets all probabilities.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from server.codecs.http import media_type
from server.codecs.http.media_type import MediaType
from server.codecs.images import image_files, image_input
from server.codecs.kserve import kserve_json, kserve_request
from server.codecs.tasks.outputs import output
from server.codecs.tasks.task import Asked, Task
from server.domain.errors import InferenceFailed, InvalidRequest
from server.domain.inference import NO_PARAMETERS, Array, InferenceRequest, InferenceResponse
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Payload

TOP_K: Final = "top_k"
_USUAL_TOP: Final = 5


@dataclass(frozen=True, slots=True)
class _Memo:
    """What the answer's writer has to know: how many labels, and whether a list was sent."""

    top: int = _USUAL_TOP
    is_list: bool = False


def _read_image(payload: Payload, _content: MediaType, archive: StagedArchive) -> Asked | None:
    spec = image_input.image_input(archive.signature)
    if spec is None:
        return None
    return Asked(InferenceRequest({spec.name: image_input.tensor([payload.body], spec, archive)}), _Memo())


def _read_octets(payload: Payload, content: MediaType, archive: StagedArchive) -> Asked | None:
    """SageMaker's default type, under which KServe JSON comes as well."""
    return _read_image(payload, content, archive) if image_files.is_image(payload.body) else None


def _read_npy(payload: Payload, _content: MediaType, archive: StagedArchive) -> Asked | None:
    spec = image_input.image_input(archive.signature)
    if spec is None:
        return None
    file = image_files.pnm(image_files.read_npy_image(payload.body))
    return Asked(InferenceRequest({spec.name: image_input.tensor([file], spec, archive)}), _Memo())


def _read_json(document: Any, _payload: Payload, archive: StagedArchive) -> Asked | None:
    spec = image_input.image_input(archive.signature)
    if spec is None or not image_input.is_base64_task(document):
        return None
    inputs = document["inputs"]
    is_list = isinstance(inputs, list)
    files = [image_files.from_base64(text, "'inputs'") for text in (inputs if is_list else [inputs])]
    parameters = dict(kserve_request.request_parameters(document.get("parameters")))
    top = parameters.pop(TOP_K, _USUAL_TOP)
    if type(top) is not int or top < 1:
        raise InvalidRequest(f"parameter '{TOP_K}' must be a whole number from 1 up, got {top!r}")
    tensor = image_input.tensor(files, spec, archive)
    return Asked(InferenceRequest({spec.name: tensor}, parameters=parameters or NO_PARAMETERS), _Memo(top, is_list))


def _write_json(response: InferenceResponse, asked: Asked, archive: StagedArchive) -> Answer:
    memo = asked.memo or _Memo()
    spec = archive.signature.outputs[0]
    scores = output(response, spec.name)
    if scores.dtype.kind != "f" or not scores.ndim:
        raise InferenceFailed(f"'{archive.name}' answered no probabilities")
    rows = scores.reshape(-1, scores.shape[-1])
    ranked = [_ranked(row, memo.top, spec.labels) for row in rows]
    return Answer((kserve_json.dump(ranked if memo.is_list else ranked[0]),), media_type.JSON)


def _ranked(scores: Array, top: int, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    best = np.argsort(-scores, kind="stable")[:top].tolist()
    return [
        {"label": labels[index] if index < len(labels) else str(index), "score": float(scores[index])} for index in best
    ]


TASK: Final = Task(
    "image-classification",
    read_json=_read_json,
    reads=MappingProxyType(
        {
            **dict.fromkeys(image_files.MEDIA_TYPES, _read_image),
            media_type.NPY: _read_npy,
            media_type.OCTET_STREAM: _read_octets,
        }
    ),
    writes=MappingProxyType({media_type.JSON: _write_json}),
)

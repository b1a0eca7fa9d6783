"""Pictures and prompts in, masks out: archives of the task `image-segmentation` (Segment Anything).

| body | as |
|---|---|
| an image file | `image/*`, or `application/octet-stream` |
| an array, uint8 [height, width, 3] | `application/x-npy` |
| such an array as nested lists | JSON |
| `{"image": "<base64>" or nested lists, ...}` with the prompts below | JSON |

A picture alone means its centre, and is answered with *one* mask, the one that the model thinks best of; a JSON object
is answered with all that were asked for:

| Accept | a picture alone | a JSON object |
|---|---|---|
| `application/json` | nested lists [height][width] of 0 and 1 | `{"masks": [n][height][width], "iou": [n], "size"}` |
| `application/x-npy` | uint8 [height, width] | uint8 [n, height, width] |
| `image/png` | the best mask, 0 and 255 | the same |
| `application/x-coco-rle+json` | `{"masks": [{"size", "counts"}], "iou": [1]}` | the same, of all masks |

Prompts, as `SamPredictor.predict` names them: `points` [[x, y], ...] (or `point_coords`) with `point_labels` (1 is the
object, 0 the background), `box` [x0, y0, x1, y1], `mask_input` [256][256], `multimask_output` (true: three masks).
With `"return_low_res": true` the JSON answer has `low_res` [n][256][256] too, to be sent back as a `mask_input`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from server.codecs import npy
from server.codecs.http import media_type
from server.codecs.http.media_type import MediaType
from server.codecs.images import image_files, image_input, json_arrays, rle
from server.codecs.kserve import kserve_json
from server.codecs.tasks.task import Asked, Task
from server.domain.errors import InferenceFailed, InvalidRequest
from server.domain.inference import NUMPY_BY_DATATYPE, Array, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import StagedArchive
from server.domain.payload import Answer, Payload

NAME: Final = "image-segmentation"
PNG: Final = "image/png"
COCO_RLE: Final = "application/x-coco-rle+json"

_IMAGE: Final = "image"
_MASK_INPUT: Final = "mask_input"
_MULTIMASK: Final = "multimask_output"
_LOW_RES: Final = "return_low_res"
_PROMPTS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "points": ("POINTS", "FP32"),
        "point_coords": ("POINTS", "FP32"),
        "point_labels": ("POINT_LABELS", "INT32"),
        "box": ("BOX", "FP32"),
        _MASK_INPUT: ("MASK_INPUT", "FP32"),
    }
)
"""Keys of a document, and the inputs that they fill."""
_KEYS: Final = (_IMAGE, *_PROMPTS, _MULTIMASK, _LOW_RES)
_LARGEST_BYTE: Final = 255


@dataclass(frozen=True, slots=True)
class _Memo:
    """What the answer's writer has to know: whether a picture came alone, and whether logits are wanted."""

    is_picture_alone: bool = False
    wants_low_res: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """Masks UINT8 [n, height, width], their predicted IoU FP32 [n], and logits FP32 [n, 256, 256] if they came."""

    masks: Array
    iou: Array
    low_res: Array | None

    def best(self) -> "_Found":
        """The mask with the highest predicted IoU, alone."""
        index = int(self.iou.argmax())
        chosen = slice(index, index + 1)
        return _Found(self.masks[chosen], self.iou[chosen], None if self.low_res is None else self.low_res[chosen])


def _read_image(payload: Payload, _content: MediaType, archive: StagedArchive) -> Asked | None:
    return _picture(payload.body, archive)


def _read_octets(payload: Payload, _content: MediaType, archive: StagedArchive) -> Asked | None:
    """SageMaker's default type, under which KServe JSON comes as well."""
    return _picture(payload.body, archive) if image_files.is_image(payload.body) else None


def _read_npy(payload: Payload, _content: MediaType, archive: StagedArchive) -> Asked | None:
    return _picture(image_files.pnm(image_files.read_npy_image(payload.body)), archive)


def _read_json(document: Any, _payload: Payload, archive: StagedArchive) -> Asked | None:
    if isinstance(document, list | np.ndarray):
        return _picture(_file_of(document), archive)
    if not isinstance(document, dict) or _IMAGE not in document:
        return None
    asked = _picture(_file_of(document[_IMAGE]), archive)
    if asked is None:
        return None
    unknown = sorted(set(document).difference(_KEYS))
    if unknown:
        raise InvalidRequest(f"unknown keys {unknown}; an image may come with {', '.join(_KEYS[1:])}")
    inputs = {**asked.request.inputs, **_prompts(document)}
    return Asked(InferenceRequest(inputs), _Memo(wants_low_res=_flag(document, _LOW_RES) or False))


def _picture(file: bytes | memoryview, archive: StagedArchive) -> Asked | None:
    spec = image_input.image_input(archive.signature)
    if spec is None:
        return None
    return Asked(InferenceRequest({spec.name: image_input.tensor([file], spec, archive)}), _Memo(is_picture_alone=True))


def _file_of(value: object) -> bytes:
    """A picture of a document, base64 or nested lists, as an image file."""
    if isinstance(value, str):
        return image_files.from_base64(value, f"'{_IMAGE}'")
    array = json_arrays.array_of(value, f"'{_IMAGE}' without base64")
    if array.size and not (array.min() >= 0 and array.max() <= _LARGEST_BYTE and (array == array.round()).all()):
        raise InvalidRequest(f"'{_IMAGE}' must hold whole numbers from 0 to {_LARGEST_BYTE}")
    return image_files.pnm(image_files.as_picture(array.astype(np.uint8), f"'{_IMAGE}'"))


def _prompts(document: Mapping[str, Any]) -> dict[str, Tensor]:
    inputs: dict[str, Tensor] = {}
    for key, (name, datatype) in _PROMPTS.items():
        if document.get(key) is None:
            continue
        if name in inputs:
            raise InvalidRequest("'points' and 'point_coords' are the same; send one of them")
        array = json_arrays.array_of(document[key], f"'{key}'")
        if key == _MASK_INPUT and array.ndim == 3 and len(array) == 1:
            array = array[0]
        if datatype == "INT32" and array.dtype.kind == "f" and not (array == array.round()).all():
            raise InvalidRequest(f"'{key}' must hold whole numbers")
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are refused by the model, which says why
            inputs[name] = Tensor(name, datatype, np.ascontiguousarray(array, NUMPY_BY_DATATYPE[datatype]))
    multimask = _flag(document, _MULTIMASK)
    if multimask is not None:
        inputs["MULTIMASK"] = Tensor("MULTIMASK", "BOOL", np.array([multimask]))
    return inputs


def _flag(document: Mapping[str, Any], key: str) -> bool | None:
    value = document.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidRequest(f"'{key}' must be true or false")
    return value


def _found(response: InferenceResponse, asked: Asked, archive: StagedArchive) -> _Found:
    """Raises InvalidRequest where the request asked for too few outputs, InferenceFailed where they are no masks."""
    by_name = {tensor.name: tensor.data for tensor in response.outputs}
    masks, iou = by_name.get("MASKS"), by_name.get("IOU")
    if masks is None or iou is None:
        if asked.request.outputs:
            raise InvalidRequest("masks are written from the outputs MASKS and IOU; ask for both, or for none by name")
        raise InferenceFailed(f"'{archive.name}' answered no masks")
    if masks.ndim != 3 or iou.shape != masks.shape[:1] or not len(masks):
        raise InferenceFailed(f"'{archive.name}' answered masks {list(masks.shape)} with IoU {list(iou.shape)}")
    found = _Found(masks, iou, by_name.get("LOW_RES"))
    return found.best() if isinstance(asked.memo, _Memo) and asked.memo.is_picture_alone else found


def _write_json(response: InferenceResponse, asked: Asked, archive: StagedArchive) -> Answer:
    found = _found(response, asked, archive)
    memo = asked.memo or _Memo()
    masks = np.ascontiguousarray(found.masks)
    if memo.is_picture_alone:
        return Answer((kserve_json.dump(masks[0]),), media_type.JSON)
    document: dict[str, object] = {
        "masks": masks,
        "iou": np.ascontiguousarray(found.iou),
        "size": list(masks.shape[1:]),
    }
    if memo.wants_low_res and found.low_res is not None:
        document["low_res"] = np.ascontiguousarray(found.low_res)
    return Answer((kserve_json.dump(document),), media_type.JSON)


def _write_npy(response: InferenceResponse, asked: Asked, archive: StagedArchive) -> Answer:
    found = _found(response, asked, archive)
    is_alone = isinstance(asked.memo, _Memo) and asked.memo.is_picture_alone
    masks = Tensor("MASKS", "UINT8", found.masks[0] if is_alone else found.masks)
    return npy.NpyReply().encode(InferenceResponse((masks,)), archive.name)


def _write_png(response: InferenceResponse, asked: Asked, archive: StagedArchive) -> Answer:
    best = _found(response, asked, archive).best()
    return Answer((image_files.png(best.masks[0] != 0),), PNG)


def _write_rle(response: InferenceResponse, asked: Asked, archive: StagedArchive) -> Answer:
    found = _found(response, asked, archive)
    document = {"masks": [rle.encode(mask) for mask in found.masks], "iou": np.ascontiguousarray(found.iou)}
    return Answer((kserve_json.dump(document),), COCO_RLE)


def _load_json(body: bytes | memoryview) -> Any:
    return json_arrays.load(body, (_IMAGE, _MASK_INPUT))


TASK: Final = Task(
    NAME,
    read_json=_read_json,
    reads=MappingProxyType(
        {
            **dict.fromkeys(image_files.MEDIA_TYPES, _read_image),
            media_type.NPY: _read_npy,
            media_type.OCTET_STREAM: _read_octets,
        }
    ),
    writes=MappingProxyType(
        {media_type.JSON: _write_json, media_type.NPY: _write_npy, PNG: _write_png, COCO_RLE: _write_rle}
    ),
    load_json=_load_json,
)

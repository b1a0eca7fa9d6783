"""What to send to an archive that is tuned: the user's own requests, or some that its task and inputs ask for."""

import base64
import io
import json
import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.load.closed_loop import Load
from benchmarks.payloads import JSON, binary_tensor
from benchmarks.workloads import sentences

_OPEN: Final = 16
"""Elements of an axis that the archive leaves open."""
_NUMPY: Final = {"FP32": "float32", "INT64": "int64", "UINT8": "uint8"}
_LABELS: Final = ("delivery", "quality", "price", "support")
_KINDS: Final = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".npy": "application/x-npy",
    ".jsonl": "application/jsonlines",
}


class NoPayloadError(ValueError):
    """Nothing is known that this archive would answer. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Bodies that are sent in turn, their headers, and what they are, in words."""

    bodies: tuple[bytes, ...]
    headers: Mapping[str, str]
    words: str

    def load(self, port: int, archive: str, concurrency: int, seconds: float) -> Load:
        """A closed loop that sends them to an archive of a server."""
        headers = {**self.headers, "x-amzn-sagemaker-target-model": archive}
        content = [base64.b64encode(body).decode() for body in self.bodies]
        return Load("127.0.0.1", port, "/invocations", headers, content, concurrency, seconds, encoding="base64")


def from_files(files: Sequence[Path], content_type: str | None) -> Payload:
    """The user's own bodies; without `content_type` the first file's suffix says what they are.

    Raises:
        NoPayloadError: a file that cannot be read, or whose suffix says nothing.
    """
    kind = content_type or _KINDS.get(files[0].suffix) or mimetypes.guess_type(files[0].name)[0]
    if kind is None:
        raise NoPayloadError(f"{files[0].name} does not tell what it is: add --content-type")
    try:
        bodies = tuple(file.read_bytes() for file in files)
    except OSError as error:
        raise NoPayloadError(f"{error.filename}: {error.strerror}") from error
    return Payload(bodies, {"content-type": kind}, f"{len(files)} x {kind} from {files[0].name}")


def made_for(facts: Mapping[str, Any]) -> Payload:
    """Requests for an archive, by what `roundhouse build settings --json` says of it.

    Raises:
        NoPayloadError: its inputs are of a kind for which nothing can be made up.
    """
    by_task = _BY_TASK.get(facts["task"])
    if by_task is not None:
        return by_task()
    inputs = [each for each in facts["inputs"] if not each["is_optional"]]
    if not inputs:
        raise NoPayloadError("the archive's config does not say what it takes: give a request of yours with --payload")
    if all(each["datatype"] == "BYTES" for each in inputs):
        return _texts(inputs, is_batched=facts["max_batch_size"] > 0)
    if len(inputs) == 1 and inputs[0]["datatype"] in _NUMPY:
        return _tensor(inputs[0], is_batched=facts["max_batch_size"] > 0)
    raise NoPayloadError(
        f"nothing can be made up for inputs {', '.join(each['name'] + ' ' + each['datatype'] for each in inputs)}: "
        "give a request of yours with --payload"
    )


def _texts(inputs: Sequence[Mapping[str, Any]], *, is_batched: bool) -> Payload:
    bodies = []
    for text in sentences():
        tensors = [
            {"name": each["name"], "shape": _shape(each, 1, is_batched=is_batched), "datatype": "BYTES", "data": [text]}
            for each in inputs
        ]
        bodies.append(json.dumps({"inputs": tensors}).encode())
    return Payload(tuple(bodies), JSON, "sentences of 8 to 64 tokens")


def _tensor(each: Mapping[str, Any], *, is_batched: bool) -> Payload:
    shape = _shape(each, _OPEN, is_batched=is_batched)
    chance = np.random.default_rng(7)
    if each["datatype"] == "FP32":
        array = chance.standard_normal(shape).astype(np.float32)
    else:  # small numbers: ids have to be in every vocabulary
        array = chance.integers(0, 2, shape).astype(_NUMPY[each["datatype"]])
    body = binary_tensor(each["name"], array)
    return Payload((body.content,), body.headers, f"{each['datatype']} {shape}")


def _shape(each: Mapping[str, Any], length: int, *, is_batched: bool) -> list[int]:
    return [*([1] if is_batched else []), *(length if dim < 0 else dim for dim in each["dims"])]


def _photo() -> Payload:
    """Clouds: what a JPEG decoder has to do depends little on what is on a picture."""
    chance = np.random.default_rng(7)
    coarse = Image.fromarray(chance.integers(0, 256, (24, 32, 3), np.uint8))
    pixels = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), np.int16)
    grain = pixels + chance.integers(-12, 13, pixels.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return Payload((file.getvalue(),), {"content-type": "image/jpeg"}, "a JPEG of 640 x 480")


def _plain_texts() -> Payload:
    bodies = (json.dumps({"inputs": text}).encode() for text in sentences())
    return Payload(tuple(bodies), JSON, "sentences of 8 to 64 tokens")


def _texts_with_labels() -> Payload:
    asked = {"candidate_labels": list(_LABELS)}
    bodies = (json.dumps({"inputs": text, "parameters": asked}).encode() for text in sentences())
    return Payload(tuple(bodies), JSON, f"sentences of 8 to 64 tokens with {len(_LABELS)} labels")


_BY_TASK: Final[Mapping[str, Callable[[], Payload]]] = {
    "image-classification": _photo,
    "text-classification": _plain_texts,
    "zero-shot-classification": _texts_with_labels,
}

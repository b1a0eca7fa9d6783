"""The input of an archive that takes pictures: the bytes of image files, UINT8 [-1], one after the other in a batch.

What the archives of several tasks have in common; which payloads a task reads is its own business.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from server.codecs.images import image_files
from server.domain.errors import InvalidRequest
from server.domain.inference import Tensor
from server.domain.model import ModelSignature, StagedArchive, TensorSpec


def image_input(signature: ModelSignature) -> TensorSpec | None:
    """The one required input, if it takes image files."""
    required = [spec for spec in signature.inputs if not spec.is_optional]
    if len(required) == 1 and (required[0].datatype, required[0].dims) == ("UINT8", (-1,)):
        return required[0]
    return None


def tensor(files: Sequence[bytes | memoryview], spec: TensorSpec, archive: StagedArchive) -> Tensor:
    """Make the input of image files; shorter ones are filled up with zeros, which no decoder minds.

    Raises:
        InvalidRequest: no file, more than the archive takes, or one that is not an image that is taken.
    """
    most = archive.signature.max_batch_size or 1
    if not 1 <= len(files) <= most:
        raise InvalidRequest(f"'{archive.name}' takes 1 to {most} pictures in a request, got {len(files)}")
    checked = [image_files.encoded_image(file) for file in files]
    if len(checked) == 1:
        row = np.frombuffer(checked[0], np.uint8)
        return Tensor(spec.name, "UINT8", row[None] if archive.signature.is_batched else row)
    rows = np.zeros((len(checked), max(map(len, checked))), np.uint8)
    for row, file in zip(rows, checked, strict=True):
        row[: len(file)] = np.frombuffer(file, np.uint8)
    return Tensor(spec.name, "UINT8", rows)


def is_base64_task(document: object) -> bool:
    """Whether a JSON document is `{"inputs": "<base64>"}` or `{"inputs": ["<base64>", ...]}`."""
    inputs = document.get("inputs") if isinstance(document, Mapping) else None
    if isinstance(inputs, list):
        return bool(inputs) and all(isinstance(entry, str) for entry in inputs)
    return isinstance(inputs, str)

"""Texts as the only input of an archive: which archives take them, and what shape they get."""

from collections.abc import Sequence

from server.codecs.kserve import bytes_elements
from server.domain.errors import InvalidRequest
from server.domain.inference import Tensor
from server.domain.model import ModelSignature, StagedArchive, TensorSpec


def text_input(signature: ModelSignature) -> TensorSpec | None:
    """The one BYTES input that a plain text fills; None where the archive wants more, less, or something else.

    Optional inputs do not count beside a required one; every fixed dimension has to be 1.
    """
    candidates = [spec for spec in signature.inputs if not spec.is_optional] or list(signature.inputs)
    if len(candidates) != 1:
        return None
    spec = candidates[0]
    return spec if spec.datatype == "BYTES" and all(dim in (1, -1) for dim in spec.dims) else None


def tensor(texts: Sequence[bytes], spec: TensorSpec, archive: StagedArchive) -> Tensor:
    """Lay texts (UTF-8) along the batch axis, or along the first dynamic axis where there is no batch.

    Raises:
        InvalidRequest: no text, or more texts than the archive takes at once.
    """
    if not texts:
        raise InvalidRequest("'inputs' is empty; send at least one text")
    signature, count = archive.signature, len(texts)
    axes = (-1, *spec.dims) if signature.is_batched else spec.dims
    most = signature.max_batch_size if signature.is_batched else count if -1 in axes else 1
    if count > most:
        raise InvalidRequest(
            f"the request has {count} texts, but archive '{archive.name}' takes at most {most} at once"
        )
    shape = [1] * len(axes)
    if -1 in axes:
        shape[axes.index(-1)] = count
    return Tensor(spec.name, "BYTES", bytes_elements.object_array(list(texts), tuple(shape)))

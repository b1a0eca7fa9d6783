"""Accept: how the caller wants the answer written.

| Accept | answer |
|---|---|
| absent, `*/*`, `application/*` | the natural form of the request's family |
| `application/json` | JSON |
| `application/vnd.sagemaker-triton.binary+json` | KServe v2 with binary tensors, SageMaker framing |
| `application/octet-stream` | KServe v2 with binary tensors, `Inference-Header-Content-Length` framing |
| `application/x-npy` | the only output as an .npy file |
| what the archive's task writes (`image/png`, ...) | as the task's file says |

Several types with `q` are honoured; the first that can be written wins. What a KServe body says about its own outputs
(`binary_data`, `binary_data_output`) is stronger than the header, because Triton's clients rely on it.
"""

from collections.abc import Collection, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from server.codecs.http import media_type
from server.domain.errors import NotAcceptable


class Form(Enum):
    """How an answer is written."""

    NATURAL = "natural"
    JSON = "json"
    SAGEMAKER_BINARY = "sagemaker-binary"
    KSERVE_BINARY = "kserve-binary"
    NPY = "npy"


_FORM_BY_ESSENCE: Final[Mapping[str, Form]] = MappingProxyType(
    {
        "*/*": Form.NATURAL,
        "application/*": Form.NATURAL,
        media_type.JSON: Form.JSON,
        media_type.SAGEMAKER_BINARY: Form.SAGEMAKER_BINARY,
        media_type.OCTET_STREAM: Form.KSERVE_BINARY,
        media_type.NPY: Form.NPY,
    }
)
_WRITABLE: Final = ", ".join(essence for essence in _FORM_BY_ESSENCE if "*" not in essence)


def choose(accept: str, npy_refusal: str, task_types: Collection[str] = ()) -> Form | str:
    """Pick the form of the answer: a `Form`, or one of `task_types` (essences that the archive's task writes).

    `npy_refusal` says why the outputs do not fit an .npy file; empty: they do. The first of `task_types` that a
    `type/*` matches is taken; `*/*` and `application/*` are `Form.NATURAL`.

    Raises:
        NotAcceptable: none of the accepted types can be written.
    """
    if not accept:
        return Form.NATURAL
    wanted = media_type.accepted(accept)
    for essence in wanted:
        if essence in task_types:
            return essence
        form = _FORM_BY_ESSENCE.get(essence)
        if form is not None and not (form is Form.NPY and npy_refusal):
            return form
        if form is None and essence.endswith("/*"):
            matching = next((kind for kind in task_types if kind.startswith(essence[:-1])), "")
            if matching:
                return matching
    if not wanted and not accept.strip():
        return Form.NATURAL
    also = "".join(f", {essence}" for essence in task_types if essence not in _FORM_BY_ESSENCE)
    reason = npy_refusal if media_type.NPY in wanted else f"choose one of {_WRITABLE}{also}"
    raise NotAcceptable(f"Accept {accept!r} cannot be written: {reason}")

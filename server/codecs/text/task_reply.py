"""The answer to a plain payload (`text/plain`, `{"inputs": ...}`): bare JSON, without KServe's envelope.

- An archive of task `sentence-embedding` with one output answers `[[0.1, ...], ...]`: a list of vectors, one per text,
  also for a single text. This is what text-embeddings-inference answers, so its users need not change a line.
- Every other archive answers `{"outputs": {"<name>": <nested lists>, ...}}`.

NaN and the infinities become `null`, as in `kserve/kserve_json.py`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from server.codecs.http import media_type
from server.codecs.kserve import kserve_json
from server.domain.inference import Array, InferenceResponse, Tensor
from server.domain.model import StagedArchive
from server.domain.payload import Answer

SENTENCE_EMBEDDING: Final = "sentence-embedding"


@dataclass(frozen=True, slots=True)
class TaskReply:
    """Writes the answer to one plain payload."""

    is_bare: bool

    def encode(self, response: InferenceResponse, model_name: str) -> Answer:
        """Write the answer; the form has no place for `model_name`.

        Raises:
            InvalidRequest: an output is neither numbers nor UTF-8 text.
        """
        del model_name
        values = {tensor.name: _nested(tensor) for tensor in response.outputs}
        if self.is_bare and len(values) == 1:
            return Answer((kserve_json.dump(next(iter(values.values()))),), media_type.JSON)
        return Answer((kserve_json.dump({"outputs": values}),), media_type.JSON)


def plan(archive: StagedArchive) -> TaskReply:
    """Pick the form by the archive's task."""
    return TaskReply(is_bare=archive.task == SENTENCE_EMBEDDING)


def _nested(tensor: Tensor) -> object:
    data: Array = np.ascontiguousarray(tensor.data)
    if tensor.datatype == "BYTES":
        strings = np.empty(data.size, dtype=np.object_)
        strings[:] = kserve_json.strings(data.reshape(-1), tensor.name)
        return strings.reshape(data.shape).tolist()
    if tensor.datatype == "BF16":
        return (data.astype(np.uint32) << 16).view(np.float32)
    return data

"""Several requests as one along the batch axis, and its one answer as theirs. Pure."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from server.domain.inference import InferenceRequest, InferenceResponse, Parameter, Tensor

_OWN: Final = frozenset({"priority", "timeout"})
"""Parameters that say how a request waits, and nothing about what it computes."""


def rows_of(request: InferenceRequest) -> int:
    """Rows along the batch axis; 0 where the inputs do not agree, or have no such axis."""
    rows = {tensor.shape[0] if tensor.shape else 0 for tensor in request.inputs.values()}
    return rows.pop() if len(rows) == 1 else 0


def kind_of(request: InferenceRequest) -> Hashable:
    """What has to be equal of requests that are merged: inputs but for their rows, asked outputs, parameters."""
    inputs = frozenset((name, tensor.datatype, tensor.shape[1:]) for name, tensor in request.inputs.items())
    return inputs, request.outputs, frozenset(_shared(request.parameters).items())


def length_of(request: InferenceRequest) -> int:
    """Bytes of the longest text: what a row of the request is padded to, more or less."""
    return max(
        (len(text) for tensor in request.inputs.values() if tensor.datatype == "BYTES" for text in tensor.data.flat),
        default=0,
    )


def merged(requests: Sequence[InferenceRequest]) -> InferenceRequest:
    """One request with the rows of all, in their order. The requests are of one kind (`kind_of`)."""
    first = requests[0]
    if len(requests) == 1:
        return first
    inputs = {
        name: Tensor(name, tensor.datatype, np.concatenate([each.inputs[name].data for each in requests]))
        for name, tensor in first.inputs.items()
    }
    return InferenceRequest(inputs, first.outputs, parameters=_shared(first.parameters))


def split(response: InferenceResponse, rows: Sequence[int]) -> list[InferenceResponse] | None:
    """The answer of each request, whose `rows` were merged; None where an output has not as many rows as there were."""
    if len(rows) == 1:
        return [response]
    total = sum(rows)
    if any(not tensor.shape or tensor.shape[0] != total for tensor in response.outputs):
        return None
    return [
        InferenceResponse(
            tuple(Tensor(tensor.name, tensor.datatype, tensor.data[start:end]) for tensor in response.outputs),
            response.parameters,
        )
        for start, end in _spans(rows)
    ]


def _spans(rows: Iterable[int]) -> Iterable[tuple[int, int]]:
    start = 0
    for count in rows:
        yield start, start + count
        start += count


def _shared(parameters: Mapping[str, Parameter]) -> Mapping[str, Parameter]:
    if _OWN.isdisjoint(parameters):
        return parameters
    return {name: value for name, value in parameters.items() if name not in _OWN}

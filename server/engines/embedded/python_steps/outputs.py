"""Whether an answer is what the step's configuration promises."""

import dataclasses

from server.domain.errors import InferenceFailed
from server.domain.inference import NUMPY_BY_DATATYPE, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import Step


def checked(step: Step, request: InferenceRequest, response: InferenceResponse) -> InferenceResponse:
    """The answer with only declared outputs, each of its declared datatype.

    BF16 has no numpy type: its bits travel as uint16. Each answer of a decoupled step may hold other outputs, or none.

    Raises:
        InferenceFailed: an output that was asked for is missing, or has another datatype than the configuration says.
    """
    given = {tensor.name: tensor for tensor in response.outputs}
    outputs: list[Tensor] = []
    for spec in step.signature.outputs:
        tensor = given.get(spec.name)
        if tensor is None:
            is_asked_for = not request.outputs or spec.name in request.outputs
            if is_asked_for and not step.signature.is_decoupled:
                raise InferenceFailed(f"step {step.name!r} gave no output {spec.name!r}")
            continue
        if tensor.datatype != spec.datatype:
            if tensor.data.dtype != NUMPY_BY_DATATYPE[spec.datatype]:
                raise InferenceFailed(
                    f"step {step.name!r} gave output {spec.name!r} as {tensor.datatype},"
                    f" but its configuration says {spec.datatype}"
                )
            tensor = dataclasses.replace(tensor, datatype=spec.datatype)
        outputs.append(tensor)
    return InferenceResponse(tuple(outputs), response.parameters)

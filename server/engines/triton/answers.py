"""Whether an answer is what the step's config promises: Triton passes on whatever a Python model gives. Pure."""

from server.domain.errors import InferenceFailed
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import Step


def answered(step: Step, request: InferenceRequest, response: InferenceResponse) -> InferenceResponse:
    """Return `response` with its outputs in the config's order, or in the order they were asked for.

    Raises:
        InferenceFailed: an output is missing, or has another datatype than the config says.
    """
    given = {tensor.name: tensor for tensor in response.outputs}
    promised = {spec.name: spec.datatype for spec in step.signature.outputs}
    names = request.outputs or tuple(promised)
    for name in names:
        if name not in given:
            raise InferenceFailed(f"step {step.name!r} gave no output {name!r}")
        if given[name].datatype != promised.get(name, given[name].datatype):
            raise InferenceFailed(
                f"step {step.name!r} gave output {name!r} as {given[name].datatype}; its config says {promised[name]}"
            )
    return InferenceResponse(tuple(given[name] for name in names), response.parameters)

"""Whether an answer is what the step's config promises: Triton passes on whatever a Python model gives. Pure."""

from server.domain.errors import InferenceFailed
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import Step
from server.domain.payload import FramedAnswer


def answered(step: Step, request: InferenceRequest, response: InferenceResponse) -> InferenceResponse:
    """Return `response` with its outputs in the config's order, or in the order they were asked for.

    Raises:
        InferenceFailed: an output is missing, or has another datatype than the config says.
    """
    if not request.outputs and _is_as_promised(step, response):
        return response
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


def checked(step: Step, answer: FramedAnswer) -> FramedAnswer:
    """Return `answer`, whose outputs may be some of the config's. Raises InferenceFailed for a wrong datatype."""
    promised = {spec.name: spec.datatype for spec in step.signature.outputs}
    for entry in answer.document["outputs"]:
        name, datatype = entry["name"], entry["datatype"]
        if promised.get(name, datatype) != datatype:
            raise InferenceFailed(
                f"step {step.name!r} gave output {name!r} as {datatype}; its config says {promised[name]}"
            )
    return answer


def _is_as_promised(step: Step, response: InferenceResponse) -> bool:
    """Whether exactly the config's outputs came, in its order: the usual case, told without tables."""
    promised, given = step.signature.outputs, response.outputs
    if len(promised) != len(given):
        return False
    for spec, tensor in zip(promised, given, strict=True):  # a generator costs more than the loop
        if spec.name != tensor.name or spec.datatype != tensor.datatype:
            return False
    return True

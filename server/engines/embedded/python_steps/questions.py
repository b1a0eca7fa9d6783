"""Requests and answers as frames: the few lines that both ends of the wire share."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from server.domain.errors import ClientError, InferenceFailed, InvalidRequest, RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.engines.embedded.python_steps.wire import Frame


def question_head(question: InferenceRequest) -> dict[str, Any]:
    """What a frame says of a request, beside its tensors (`question.inputs.values()`)."""
    return {"id": question.id, "outputs": question.outputs, "parameters": dict(question.parameters)}


def question_in(frame: Frame) -> InferenceRequest:
    """The request that a frame carries."""
    head = frame.head
    inputs = {tensor.name: tensor for tensor in frame.tensors}
    return InferenceRequest(inputs, tuple(head["outputs"]), head["id"], head["parameters"])


def questions_frame(questions: Sequence[InferenceRequest]) -> tuple[dict[str, Any], list[Tensor]]:
    """Several requests as one frame's head and tensors: those of the first, then those of the second, ..."""
    heads = [{**question_head(question), "tensors": len(question.inputs)} for question in questions]
    return {"questions": heads}, [tensor for question in questions for tensor in question.inputs.values()]


def questions_in(frame: Frame) -> list[InferenceRequest]:
    """The requests that a frame carries."""
    tensors = iter(frame.tensors)
    return [question_in(Frame(head, tuple(islice(tensors, head["tensors"])))) for head in frame.head["questions"]]


def failure_head(error: RoundhouseError) -> dict[str, Any]:
    """What a frame says of a failure: its text, and whose fault it is."""
    return {"error": str(error), "is_client": isinstance(error, ClientError)}


def failure_in(frame: Frame) -> InferenceFailed | InvalidRequest:
    """The failure that a frame carries, to be raised."""
    return (InvalidRequest if frame.head["is_client"] else InferenceFailed)(frame.head["error"])


def answer_head(answer: InferenceResponse) -> dict[str, Any]:
    """What a frame says of an answer, beside its tensors (`answer.outputs`)."""
    return {"parameters": dict(answer.parameters)}


def answer_in(frame: Frame) -> InferenceResponse:
    """The answer that a frame carries."""
    return InferenceResponse(frame.tensors, frame.head["parameters"])


def outcome_in(frame: Frame) -> InferenceResponse | RoundhouseError:
    """One request's answer or failure."""
    return failure_in(frame) if "error" in frame.head else answer_in(frame)

"""`pb_utils.InferenceResponse`, the senders that decoupled models use, and the iterator over a callee's responses."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from server.domain.errors import ClientError, InferenceFailed, InvalidRequest, RoundhouseError
from server.domain.inference import InferenceResponse as Answer
from server.domain.inference import Parameter
from server.domain.inference import Tensor as DomainTensor
from server.engines.embedded.python_steps.tensors import Tensor, with_bytes_elements
from server.engines.embedded.python_steps.triton_errors import TritonError, TritonModelException

TRITONSERVER_RESPONSE_COMPLETE_FINAL: Final = 1


class InferenceResponse:
    """One response: either `output_tensors` or an `error`. `parameters` must be JSON-ready."""

    __slots__ = ("_error", "_outputs", "_parameters")

    def __init__(
        self,
        output_tensors: Sequence[Tensor] = (),
        error: TritonError | None = None,
        parameters: Mapping[str, Parameter] | None = None,
    ) -> None:
        if not isinstance(output_tensors, list | tuple):
            raise TypeError("output_tensors must be a list of pb_utils.Tensor")
        for tensor in output_tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"output_tensors holds {type(tensor).__name__}, not pb_utils.Tensor")
        if error is not None and not isinstance(error, TritonError):
            raise TypeError(f"error must be a pb_utils.TritonError, not {type(error).__name__}")
        self._outputs = list(output_tensors)
        self._error = error
        self._parameters = checked_parameters(parameters)

    def output_tensors(self) -> list[Tensor]:
        """The outputs."""
        return self._outputs

    def has_error(self) -> bool:
        """Whether this response is an error."""
        return self._error is not None

    def error(self) -> TritonError | None:
        """The error, if there is one."""
        return self._error

    def parameters(self) -> str:
        """The parameters as a JSON object, as the original gives them."""
        return json.dumps(self._parameters)


def checked_parameters(parameters: Mapping[str, Parameter] | None) -> dict[str, Parameter]:
    """A copy of parameters that JSON can carry. Raises TritonModelException for others."""
    if not parameters:
        return {}
    for name, value in parameters.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float):
            raise TritonModelException(
                f"parameter {name!r} is {type(value).__name__}; parameters are str, int, float or bool under a str"
            )
    return dict(parameters)


def answer_of(response: InferenceResponse) -> Answer:
    """The response in the engine's words. Arrays are handed over, not copied."""
    return Answer(tuple(domain_tensor(tensor) for tensor in response.output_tensors()), response._parameters)


def domain_tensor(tensor: Tensor) -> DomainTensor:
    """A model's tensor in the engine's words: native byte order, text as bytes."""
    array = tensor.as_numpy()
    if tensor._datatype == "BYTES":
        array = with_bytes_elements(array)
    elif not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return DomainTensor(tensor.name(), tensor._datatype, array)


def response_of(answer: Answer) -> InferenceResponse:
    """A callee's answer as the model that called it sees it."""
    outputs = [Tensor.of(tensor.name, tensor.datatype, tensor.data) for tensor in answer.outputs]
    return InferenceResponse(outputs, parameters=answer.parameters)


def error_response(error: RoundhouseError) -> InferenceResponse:
    """A failed call of another model, as a response with an error."""
    code = TritonError.INVALID_ARG if isinstance(error, ClientError) else TritonError.INTERNAL
    return InferenceResponse(error=TritonError(str(error), code))


class ResponseIterator:
    """The responses of a decoupled callee; a failure is the last of them."""

    def __init__(self, answers: Iterator[Answer]) -> None:
        self._answers = answers
        self._is_over = False

    def __iter__(self) -> "ResponseIterator":
        return self

    def __next__(self) -> InferenceResponse:
        if self._is_over:
            raise StopIteration
        try:
            return response_of(next(self._answers))
        except StopIteration:
            self._is_over = True
            raise
        except RoundhouseError as error:
            self._is_over = True
            return error_response(error)

    def cancel(self) -> None:
        """Ask for no more of them."""
        self._is_over = True
        close = getattr(self._answers, "close", None)
        if close is not None:
            close()


class Reply:
    """Where the answers to one request go, and when they are complete. Used from the model's own threads as well."""

    def __init__(
        self, step: str, emit: Callable[[Answer], None], is_cancelled: Callable[[], bool], *, is_decoupled: bool
    ) -> None:
        self._step = step
        self._emit = emit
        self.is_cancelled = is_cancelled
        self._is_decoupled = is_decoupled
        self._lock = threading.Lock()
        self._is_over = False
        self._over: threading.Event | None = None
        """Made by who has to wait, which is seldom: most models have answered when their `execute` returns."""
        self._is_complete = False
        self._failure: InferenceFailed | InvalidRequest | None = None
        self.sent = 0

    def send(self, response: InferenceResponse | None, *, is_final: bool) -> None:
        """Pass a response on. Raises TritonModelException where the model may not send it."""
        with self._lock:
            self._refuse(response, is_final=is_final)
            if response is not None and self._failure is None:
                self.sent += 1
                self._pass_on(response)
            if is_final:
                self._is_complete = True
                self.finish()

    def _refuse(self, response: InferenceResponse | None, *, is_final: bool) -> None:
        if self._is_complete:
            raise TritonModelException("cannot send a response: the final one was sent already")
        if response is None and not is_final:
            raise TritonModelException("cannot send nothing: give a response, or the final flag, or both")
        if self._is_decoupled:
            return
        if response is not None and self.sent:
            raise TritonModelException("cannot send a second response: the model is not decoupled")
        if response is None and not self.sent:
            raise TritonModelException("cannot end without a response: the model is not decoupled")

    def _pass_on(self, response: InferenceResponse) -> None:
        error = response.error()
        if error is None:
            self._emit(answer_of(response))
        else:
            kind = InvalidRequest if error.code() == TritonError.INVALID_ARG else InferenceFailed
            self._failure = kind(f"step {self._step!r}: {error.message()}")

    def finish(self) -> None:
        """The model has dropped its sender; only what it returned may still come.

        Without the lock, since the garbage collector may call it in the midst of `send`. First the flag, then the
        event; `wait` goes the other way round: so none of them misses the other.
        """
        self._is_over = True
        if self._over is not None:
            self._over.set()

    def wait(self) -> None:
        """Wait until the answers are complete.

        Raises InferenceFailed if one was an error, InvalidRequest if the model calls it the caller's (INVALID_ARG).
        """
        if not self._is_over:
            self._over = over = threading.Event()
            if not self._is_over:
                over.wait()
        if self._failure is not None:
            raise self._failure


class InferenceResponseSender:
    """Sends the responses of one request, at once or later, from any thread.

    A sender that nobody holds any more ends its request, so that a forgotten final flag cannot hang a client.
    """

    __slots__ = ("_reply",)

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def send(self, response: InferenceResponse | None = None, flags: int = 0) -> None:
        """Send `response`; `flags=TRITONSERVER_RESPONSE_COMPLETE_FINAL` says that it is the last."""
        if response is not None and not isinstance(response, InferenceResponse):
            raise TypeError(f"response must be a pb_utils.InferenceResponse, not {type(response).__name__}")
        if flags not in {0, TRITONSERVER_RESPONSE_COMPLETE_FINAL}:
            raise TritonModelException(f"flags must be 0 or TRITONSERVER_RESPONSE_COMPLETE_FINAL, not {flags}")
        self._reply.send(response, is_final=flags == TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def is_cancelled(self) -> bool:
        """Whether the caller has lost interest."""
        return self._reply.is_cancelled()

    def __del__(self) -> None:
        self._reply.finish()


def get_output_tensor_by_name(inference_response: InferenceResponse, name: str) -> Tensor | None:
    """The output of that name, None if there is none."""
    return next((tensor for tensor in inference_response.output_tensors() if tensor.name() == name), None)

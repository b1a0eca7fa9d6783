"""`pb_utils.InferenceRequest`: what a model receives, and what it makes to call another model (BLS)."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol

from server.domain.errors import RoundhouseError
from server.domain.inference import InferenceRequest as Question
from server.domain.inference import InferenceResponse as Answer
from server.domain.inference import Parameter
from server.engines.embedded.python_steps.responses import (
    InferenceResponse,
    InferenceResponseSender,
    Reply,
    ResponseIterator,
    checked_parameters,
    domain_tensor,
    error_response,
    response_of,
)
from server.engines.embedded.python_steps.tensors import Tensor
from server.engines.embedded.python_steps.triton_errors import TritonModelException

TRITONSERVER_REQUEST_FLAG_SEQUENCE_START: Final = 1
TRITONSERVER_REQUEST_FLAG_SEQUENCE_END: Final = 2
TRITONSERVER_REQUEST_RELEASE_ALL: Final = 1
TRITONSERVER_REQUEST_RELEASE_RESCHEDULE: Final = 2
TRITONSERVER_MEMORY_CPU: Final = 0
TRITONSERVER_MEMORY_GPU: Final = 2


class Caller(Protocol):
    """Runs the other models of the archive. Both methods raise RoundhouseError."""

    def run(self, model_name: str, question: Question, *, is_concurrent: bool) -> Answer:
        """Run a model to its one answer; `is_concurrent` says that other calls may be under way."""
        ...

    def stream(self, model_name: str, question: Question) -> Iterator[Answer]:
        """Run a decoupled model."""
        ...

    def names(self) -> frozenset[str]:
        """The models that may be called."""
        ...


class PreferredMemory:
    """Where a caller would like outputs to be. Accepted, and without effect: everything is in host memory here."""

    def __init__(self, preferred_memory_type: int, preferred_device_id: int = 0) -> None:
        self.preferred_memory_type = preferred_memory_type
        self.preferred_device_id = preferred_device_id


class InferenceTrace:
    """A trace without a context."""

    def get_context(self) -> None:
        """No context."""
        return


_NO_TRACE: Final = InferenceTrace()


class InferenceRequest:
    """A request. Made by the host for `execute`, or by a model to call another one (then with `model_name`)."""

    _caller: ClassVar[Caller | None] = None
    """Each step's own `triton_python_backend_utils` binds its own."""

    def __init__(
        self,
        request_id: str = "",
        correlation_id: int | str = 0,
        inputs: Sequence[Tensor] | None = None,
        requested_output_names: Sequence[str] | None = None,
        model_name: str = "",
        model_version: int = -1,
        flags: int = 0,
        timeout: int = 0,
        preferred_memory: PreferredMemory | None = None,
        trace: InferenceTrace | None = None,
        parameters: Mapping[str, Parameter] | None = None,
    ) -> None:
        if inputs is None or requested_output_names is None:
            raise TypeError("InferenceRequest needs inputs=, requested_output_names= and model_name=")
        for tensor in inputs:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"inputs holds {type(tensor).__name__}, not pb_utils.Tensor")
        del preferred_memory, model_version  # an archive has one version of each model, in host memory
        self._inputs = list(inputs)
        self._outputs = list(requested_output_names)
        self._model_name = model_name
        self._request_id = request_id
        self._correlation_id = correlation_id
        self._flags = flags
        self._timeout = timeout
        self._trace = trace or _NO_TRACE
        self._parameters = checked_parameters(parameters)
        self._sender: InferenceResponseSender | None = None

    @classmethod
    def received(cls, question: Question, outputs: Sequence[str], reply: Reply) -> "InferenceRequest":
        """The request that `execute` gets. `outputs` are the names asked for: never empty."""
        request = cls.__new__(cls)  # nothing here needs the checks that a model's own requests need
        request._inputs = [Tensor.of(each.name, each.datatype, each.data) for each in question.inputs.values()]
        request._outputs = list(outputs)
        request._model_name = ""
        request._request_id = question.id
        sequence = question.parameters.get("sequence_id", 0)
        request._correlation_id = sequence if isinstance(sequence, int | str) else 0
        request._flags = request._timeout = 0
        request._trace = _NO_TRACE
        request._parameters = checked_parameters(question.parameters)
        request._sender = InferenceResponseSender(reply)
        return request

    def inputs(self) -> list[Tensor]:
        """The input tensors, in the order they came."""
        return self._inputs

    def requested_output_names(self) -> list[str]:
        """The outputs that the caller wants; all of them where the caller did not say."""
        return self._outputs

    def request_id(self) -> str:
        """The caller's id, or "" ."""
        return self._request_id

    def correlation_id(self) -> int | str:
        """The sequence's id, or 0."""
        return self._correlation_id

    def model_name(self) -> str:
        """The model this request is for."""
        return self._model_name

    def parameters(self) -> str:
        """The request's parameters as a JSON object, as the original gives them."""
        return json.dumps(self._parameters)

    def flags(self) -> int:
        """Sequence flags."""
        return self._flags

    def set_flags(self, flags: int) -> None:
        """Set the sequence flags."""
        self._flags = flags

    def timeout(self) -> int:
        """Microseconds, 0 for none."""
        return self._timeout

    def trace(self) -> InferenceTrace:
        """The trace."""
        return self._trace

    def get_response_sender(self) -> InferenceResponseSender:
        """The sender of this request's responses."""
        if self._sender is None:
            raise TritonModelException("only the requests that execute() was given have a response sender")
        return self._sender

    def is_cancelled(self) -> bool:
        """Whether the caller has lost interest."""
        return self._sender is not None and self._sender.is_cancelled()

    def set_release_flags(self, flags: int) -> None:
        """Only TRITONSERVER_REQUEST_RELEASE_ALL: rescheduling needs Triton's sequence batcher."""
        if flags != TRITONSERVER_REQUEST_RELEASE_ALL:
            raise TritonModelException("the embedded engine does not reschedule requests; run this archive with Triton")

    def exec(self, decoupled: bool = False) -> Any:
        """Run this request on another model of the archive, and wait.

        Returns an InferenceResponse, or with `decoupled` an iterator of them. Failures are responses with an error.
        """
        return self._exec(decoupled=decoupled, is_concurrent=False)

    def async_exec(self, decoupled: bool = False) -> Any:
        """Like `exec`, but returns an awaitable; several may be under way at once."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(None, lambda: self._exec(decoupled=decoupled, is_concurrent=True))

    def _exec(self, *, decoupled: bool, is_concurrent: bool) -> InferenceResponse | ResponseIterator:
        if self._caller is None:
            raise TritonModelException("models cannot be called from auto_complete_config")
        question = Question(
            {tensor.name(): domain_tensor(tensor) for tensor in self._inputs},
            tuple(self._outputs),
            self._request_id,
            self._parameters,
        )
        if decoupled:
            return ResponseIterator(self._caller.stream(self._model_name, question))
        try:
            return response_of(self._caller.run(self._model_name, question, is_concurrent=is_concurrent))
        except RoundhouseError as error:
            return error_response(error)


def get_input_tensor_by_name(inference_request: InferenceRequest, name: str) -> Tensor | None:
    """The input of that name, None if there is none."""
    return next((tensor for tensor in inference_request.inputs() if tensor.name() == name), None)

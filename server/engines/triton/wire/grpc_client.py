"""Loading, unloading and decoupled answers over gRPC.

Loads go this way because Triton's HTTP front end runs them on the thread that also serves other connections, which
then stall; its gRPC front end has one thread for such calls, so they queue behind each other and block nobody else.
The generated stubs are used as they are: the client classes on top of them convert arrays and hide status codes.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, Final

import grpc  # type: ignore[import-untyped]
from tritonclient.grpc import service_pb2, service_pb2_grpc

from server.domain.inference import InferenceRequest, InferenceResponse, Parameter
from server.engines.triton.process.flags import OWN_KEY
from server.engines.triton.wire.binary_tensors import decode_tensor, encode_tensor, response_parameters
from server.engines.triton.wire.errors import Refused, ServerGone

_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
_HTTP_STATUS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_AFTER_ERROR_S: Final = 0.5
_BROKEN: Final = re.compile(
    r"[Cc]onnection|[Ss]ocket closed|failed to connect|Broken pipe|GOAWAY|recvmsg|Stream removed|Channel closed|tcp"
)
"""How grpc words an UNAVAILABLE of its own. Triton's UNAVAILABLE is about a model."""


class GrpcClient:
    """Speaks to the tritonserver at `target`. `secret` opens what is closed to others (`flags.OWN_KEY`)."""

    def __init__(self, target: str, secret: str = "") -> None:
        self._own = ((OWN_KEY, secret),) if secret else ()
        self._channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
        self._stub: Any = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self._is_closed = False

    async def load(self, model: str) -> None:
        """Load from the repository. Returns when it is ready. Raises Refused, ServerGone."""
        with self._translating():
            await self._stub.RepositoryModelLoad(
                service_pb2.RepositoryModelLoadRequest(model_name=model), metadata=self._own
            )

    async def unload(self, model: str) -> None:
        """Begin to unload, without what it calls. Returns before its memory is free. Raises Refused, ServerGone."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=model)
        request.parameters["unload_dependents"].bool_param = False
        with self._translating():
            await self._stub.RepositoryModelUnload(request, metadata=self._own)

    async def stream(self, model: str, request: InferenceRequest) -> AsyncGenerator[InferenceResponse, None]:
        """Every answer of one request. Closing the iterator cancels it. Raises Refused, ServerGone."""
        with self._translating():
            call = self._stub.ModelStreamInfer(_once(infer_message(model, request)))
            try:
                async for message in call:
                    if message.error_message:
                        await _read_on(call)
                        raise Refused(stream_status(message.error_message), message.error_message)
                    answer = message.infer_response
                    if answer.outputs or not answer.parameters["triton_final_response"].bool_param:
                        yield _response(answer)
                    # And on to the end of the stream: a call that is cancelled when its last answer is on the way can
                    # leave a request behind in Triton, which then never unloads the model.
            finally:
                call.cancel()

    async def close(self) -> None:
        """Drop the channel; calls under way fail with ServerGone."""
        self._is_closed = True
        await self._channel.close()

    @contextlib.contextmanager
    def _translating(self) -> Iterator[None]:
        """Around each call. To close a channel cancels its calls, which must not look as if their callers had left."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            raise _translated(error) from error
        except grpc.aio.UsageError as error:
            raise ServerGone("the connection to tritonserver is closed") from error
        except asyncio.CancelledError as error:
            caller = asyncio.current_task()
            if self._is_closed and caller is not None and not caller.cancelling():
                raise ServerGone("the connection to tritonserver was closed") from error
            raise


def infer_message(model: str, request: InferenceRequest) -> Any:
    """The request as Triton's protobuf, asking for an empty last answer as a sign of the end."""
    message = service_pb2.ModelInferRequest(model_name=model, id=request.id)
    message.parameters["triton_enable_empty_final_response"].bool_param = True
    for name, value in request.parameters.items():
        _set_parameter(message.parameters[name], value)
    for tensor in request.inputs.values():
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        message.raw_input_contents.append(bytes(encode_tensor(tensor)))
    for name in request.outputs:
        message.outputs.add(name=name)
    return message


def _response(message: Any) -> InferenceResponse:
    outputs = tuple(
        decode_tensor(output.name, output.datatype, tuple(output.shape), data)
        for output, data in zip(message.outputs, message.raw_output_contents, strict=True)
    )
    parameters = {
        name: getattr(value, value.WhichOneof("parameter_choice"))
        for name, value in message.parameters.items()
        if name != "triton_final_response" and value.WhichOneof("parameter_choice")
    }
    return InferenceResponse(outputs, response_parameters(parameters))


def _set_parameter(field: Any, value: Parameter) -> None:
    if isinstance(value, bool):
        field.bool_param = value
    elif isinstance(value, int):
        field.int64_param = value
    elif isinstance(value, float):
        field.double_param = value
    else:
        field.string_param = value


def stream_status(text: str) -> int:
    """The status of a failure that a stream tells as a bare message: 400, 503 or 500.

    Triton puts the request's id in front of what its own checks found, and of nothing that a model said. The code of a
    model's error is lost on this way, so a model that blames the request has to say so in words.
    """
    if "Exceeds maximum queue size" in text or "Request timeout expired" in text:
        return 503
    return 400 if text.startswith(("[request id: ", "Invalid argument: ")) else 500


async def _read_on(call: Any) -> None:
    """Read what follows an error up to the end, but not for long: a model may go on for ever.

    An error is a message here. With the key `triton_grpc_error` it would be the call's own status, but Triton 2.51
    then crashes as soon as the model, which knows nothing of that, sends its next response.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_AFTER_ERROR_S):
            async for _ in call:
                pass


async def _once(message: Any) -> AsyncIterator[Any]:
    yield message


def _translated(error: grpc.aio.AioRpcError) -> Exception:
    text = error.details() or ""
    if error.code() == grpc.StatusCode.UNAVAILABLE and _BROKEN.search(text):
        return ServerGone(text)
    return Refused(_HTTP_STATUS.get(error.code(), 500), text)

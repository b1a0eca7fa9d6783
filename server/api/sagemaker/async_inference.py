"""SageMaker runtime: InvokeEndpointAsync. Answered when the job is on disk; `server/jobs` does the rest.

The operation has no TargetModel, since SageMaker gives an asynchronous endpoint one model. So the default model
answers; where there are many, the header of InvokeEndpoint, `X-Amzn-SageMaker-Target-Model`, names the archive.
CustomAttributes are not asked: they are opaque by contract. boto3 sends the header with one hook:

    client.meta.events.register(
        "before-call.sagemaker-runtime.InvokeEndpointAsync",
        lambda params, **_: params["headers"].update({"X-Amzn-SageMaker-Target-Model": "minilm.tar.gz"}),
    )
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from server.api.body import read_body
from server.api.parts import Parts
from server.api.sagemaker.headers import (
    CUSTOM_ATTRIBUTES,
    STREAM_ACCEPT,
    STREAM_CONTENT_TYPE,
    TARGET_MODEL,
    target_model,
)
from server.domain.errors import InvalidHeader
from server.jobs.async_inference import BODY_BYTES, Call

OUTPUT_LOCATION: Final = "X-Amzn-SageMaker-OutputLocation"
FAILURE_LOCATION: Final = "X-Amzn-SageMaker-FailureLocation"

_MEMBERS: Final[Mapping[bytes, str]] = {
    b"x-amzn-sagemaker-inputlocation": "InputLocation",
    STREAM_CONTENT_TYPE: "ContentType",
    STREAM_ACCEPT: "Accept",
    CUSTOM_ATTRIBUTES: "CustomAttributes",
    b"x-amzn-sagemaker-inference-id": "InferenceId",
    b"x-amzn-sagemaker-requestttlseconds": "RequestTTLSeconds",
    b"x-amzn-sagemaker-invocationtimeoutseconds": "InvocationTimeoutSeconds",
    b"x-amzn-sagemaker-s3outputpathextension": "S3OutputPathExtension",
    b"x-amzn-sagemaker-filename": "Filename",
}
_OPENAPI: Final[dict[str, Any]] = {
    "parameters": [
        {"name": name.decode(), "in": "header", "description": member, "schema": {"type": "string"}}
        for name, member in {TARGET_MODEL: "which archive, for example minilm.tar.gz", **_MEMBERS}.items()
    ],
    "requestBody": {
        "description": "The payload, where InputLocation names none",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
}
_OFF: Final = (
    "asynchronous inference is switched off: start the server with --async-output s3://bucket/prefix/ "
    "(ROUNDHOUSE_ASYNC_OUTPUT), where results are to be written"
)


def router(parts: Parts) -> APIRouter:
    """Build the route."""
    routes = APIRouter(tags=["SageMaker runtime"])

    @routes.post(
        "/endpoints/{endpoint:path}/async-invocations",
        status_code=202,
        summary="InvokeEndpointAsync",
        openapi_extra=_OPENAPI,
    )
    async def invoke_async(endpoint: str, request: Request) -> Response:
        if parts.jobs is None:
            raise InvalidHeader(_OFF)
        headers = dict(request.scope["headers"])
        archive = parts.addresses.by_target(target_model(headers))
        body = await read_body(request.receive, headers, BODY_BYTES)
        job = await parts.jobs.submit(Call(endpoint, archive, _members(headers), body))
        return Response(
            orjson.dumps({"InferenceId": job.inference_id}),
            status_code=202,
            headers={OUTPUT_LOCATION: str(job.output), FAILURE_LOCATION: str(job.failure)},
            media_type="application/json",
        )

    return routes


def _members(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the members that were sent. Keys of S3 may be UTF-8; what is no UTF-8 fits no member's pattern."""
    return {
        member: headers[name].decode("utf-8", errors="replace") for name, member in _MEMBERS.items() if name in headers
    }

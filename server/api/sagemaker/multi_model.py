"""SageMaker container contract, multi-model: LIST, LOAD, GET and UNLOAD on `/models`.

None of them blocks a ping or another model's request, however long it takes. Success is answered as Triton does: an
empty body for LOAD and UNLOAD.
"""

from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.api.body import read_small
from server.api.parts import Parts
from server.domain.errors import InvalidRequest
from server.serving.model_control import Entry

TargetModel: TypeAlias = Annotated[str, Header()]


class LoadRequest(BaseModel):
    """The body of LOAD. Unknown fields are ignored."""

    model_config = ConfigDict(protected_namespaces=(), strict=True)

    model_name: Annotated[str, Field(min_length=1, description="The platform's id of the model")]
    url: Annotated[str, Field(min_length=1, description="The folder with the extracted archive")]


def router(parts: Parts) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(tags=["SageMaker container"])

    @routes.post("/models", summary="LOAD", openapi_extra=_BODY)
    @routes.post("/models/", include_in_schema=False)
    async def load(request: Request, x_amzn_sagemaker_target_model: TargetModel = "") -> Response:
        wanted = _load_request(await read_small(request))
        await parts.models.load(wanted.model_name, wanted.url, x_amzn_sagemaker_target_model.strip())
        return Response(status_code=200)

    @routes.get("/models", summary="LIST: every model that is loaded, in pages")
    @routes.get("/models/", include_in_schema=False)
    async def list_models(limit: str = "", next_page_token: str = "") -> dict[str, object]:
        entries, token = parts.models.page(_number("limit", limit), _number("next_page_token", next_page_token))
        page: dict[str, object] = {"models": [_described(entry) for entry in entries]}
        return page if token is None else {**page, "nextPageToken": str(token)}

    @routes.get("/models/{id:path}", summary="GET: one loaded model")
    async def get(id: str) -> dict[str, str]:  # noqa: A002 - SageMaker's word
        return _described(parts.models.get(id))

    @routes.delete("/models/{id:path}", summary="UNLOAD: returns when the memory is free")
    async def unload(id: str, x_amzn_sagemaker_target_model: TargetModel = "") -> Response:  # noqa: A002
        parts.addresses.by_id(id, x_amzn_sagemaker_target_model.strip())
        await parts.models.unload(id)
        return Response(status_code=200)

    return routes


_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": LoadRequest.model_json_schema()}}}
}


def _load_request(body: bytes) -> LoadRequest:
    """Read the body whatever its Content-Type, as Triton does."""
    try:
        return LoadRequest.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise InvalidRequest(f"LOAD: {where + ': ' if where else ''}{problem['msg']}") from error


def _number(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"{name} has to be a whole number, got {text[:40]!r}")
    return int(text)


def _described(entry: Entry) -> dict[str, str]:
    return {"modelName": entry.id, "modelUrl": entry.url}

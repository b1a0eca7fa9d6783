"""KServe v2, repository extension: what archives there are; load and unload by name.

Loading here means making an archive of the store resident before somebody asks for it, and unloading means freeing its
memory: the archive stays in the store, and the next request brings it back.
"""

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from server.api.body import read_small
from server.api.parts import Parts
from server.domain.errors import InvalidRequest, UnsupportedModel


def router(parts: Parts) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(tags=["KServe v2"])

    @routes.post("/v2/repository/index", summary="Every archive that can be asked for, and whether it is resident")
    async def index(request: Request) -> list[dict[str, str]]:
        wanted = _document(await read_small(request))
        rows = await parts.models.index(is_ready_only=wanted.get("ready") is True)
        return [{"name": row.name, "version": "1", "state": row.state, "reason": row.reason} for row in rows]

    @routes.post("/v2/repository/models/{name:path}/load", summary="Make an archive resident")
    async def load(name: str, request: Request) -> Response:
        parameters = _document(await read_small(request)).get("parameters") or {}
        if any(key == "config" or key.startswith("file:") for key in parameters):
            raise UnsupportedModel("a load may not carry a config or files; put an archive into the store instead")
        await parts.models.preload(name)
        return Response(status_code=200)

    @routes.post("/v2/repository/models/{name:path}/unload", summary="Free an archive's memory")
    async def unload(name: str) -> Response:
        await parts.models.release(name)
        return Response(status_code=200)

    return routes


def _document(body: bytes) -> dict[str, Any]:
    """Read an optional JSON object."""
    if not body:
        return {}
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRequest("the body has to be a JSON object")
    return document

"""What is resident and why, and the operator's say in it."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from server.api.parts import Parts
from server.residency.planning.terms import Wish


class Terms(BaseModel):
    """What holds for an archive from now on; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    priority: int | None = None
    ttl_s: Annotated[float, Field(gt=0)] | None = None


def router(parts: Parts) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(tags=["Admin"])
    residency = parts.residency

    @routes.get("/admin/residency", summary="Budgets, residents, order of eviction, recent evictions with reasons")
    async def snapshot() -> Response:
        # By orjson: a hundred explained evictions take FastAPI's encoder 70 ms, in which nothing else is answered.
        return Response(orjson.dumps({**residency.snapshot(), **parts.tiers()}), media_type="application/json")

    @routes.get("/admin/archives", summary="Every archive that can be asked for")
    async def archives() -> dict[str, object]:
        rows = await parts.models.index()
        return {"archives": [{"name": row.name, "resident": row.state == "READY"} for row in rows]}

    @routes.get("/admin/server", summary="The server and its engine")
    async def server() -> dict[str, object]:
        return {"version": parts.options.version, **parts.facts()}

    @routes.post("/admin/engine/renew", status_code=202, summary="Restart a tritonserver that leaks; no request fails")
    async def renew() -> dict[str, object]:
        return residency.renew_engine()

    @routes.put("/admin/pin/{name:path}", summary="Make an archive resident and never evict it")
    async def pin(name: str) -> Response:
        await parts.models.pin(name)
        return Response(status_code=204)

    @routes.delete("/admin/pin/{name:path}", summary="Let an archive be evicted again")
    async def unpin(name: str) -> Response:
        parts.models.unpin(name)
        return Response(status_code=204)

    @routes.put("/admin/terms/{name:path}", summary="Say an archive's priority or time to live, until the server ends")
    async def say(name: str, terms: Terms) -> Response:
        parts.models.say(name, Wish(terms.priority, terms.ttl_s))
        return Response(status_code=204)

    @routes.post("/admin/preload/{name:path}", summary="Make an archive resident")
    async def preload(name: str) -> Response:
        await parts.models.preload(name)
        return Response(status_code=204)

    @routes.post("/admin/unload/{name:path}", summary="Free an archive's memory; the next request brings it back")
    async def unload(name: str) -> Response:
        await parts.models.release(name)
        return Response(status_code=204)

    return routes

"""Asynchronous inference: what waits, what runs, how the last ones ended."""

import orjson
from fastapi import APIRouter, Response

from server.api.parts import Parts


def router(parts: Parts) -> APIRouter:
    """Build the route."""
    routes = APIRouter(tags=["Admin"])

    @routes.get("/admin/jobs", summary="Asynchronous inference: what waits, runs, and how the last ones ended")
    async def jobs() -> Response:
        shown = {"is_on": False} if parts.jobs is None else {"is_on": True, **parts.jobs.snapshot()}
        return Response(orjson.dumps(shown), media_type="application/json")

    return routes

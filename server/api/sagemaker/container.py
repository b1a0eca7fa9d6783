"""SageMaker container contract: the health check."""

from fastapi import APIRouter, Response

from server.api.parts import Parts


def router(parts: Parts) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(tags=["SageMaker container"])

    @routes.get("/ping", summary="Health check: 200 and an empty body when requests can be answered, else 503")
    async def ping() -> Response:
        return Response(status_code=200 if parts.is_ready() else 503)

    return routes

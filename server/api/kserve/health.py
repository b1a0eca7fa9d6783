"""KServe v2: is the server there, is it ready, what is it."""

from typing import Final

from fastapi import APIRouter, Response

from server.api.parts import Parts

EXTENSIONS: Final = (
    "binary_tensor_data",
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "statistics",
)


def router(parts: Parts) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(tags=["KServe v2"])

    @routes.get("/v2/health/live", summary="Whether the server runs")
    async def live() -> Response:
        return Response(status_code=200)

    @routes.get("/v2/health/ready", summary="Whether requests can be answered")
    async def ready() -> Response:
        return Response(status_code=200 if parts.is_ready() else 503)

    @routes.get("/v2", summary="Name, version and extensions of the server")
    @routes.get("/v2/", include_in_schema=False)
    async def server() -> dict[str, object]:
        return {"name": "roundhouse", "version": parts.options.version, "extensions": EXTENSIONS}

    return routes

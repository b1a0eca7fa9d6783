"""The Prometheus page, and the index of everything."""

from fastapi import APIRouter, Request, Response

from server.api.parts import Parts
from server.telemetry.metrics import Level


def router(parts: Parts) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(tags=["Admin"])
    parts.metrics.watch(lambda: [Level("roundhouse_requests_in_flight", "Requests inside", parts.dispatcher.in_flight)])

    @routes.get("/metrics", summary="Prometheus metrics under SageMaker's names", response_class=Response)
    async def metrics(request: Request) -> Response:
        body, content_type = parts.metrics.page(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    @routes.get("/", summary="Where things are")
    async def index() -> dict[str, object]:
        return {
            "name": "roundhouse",
            "version": parts.options.version,
            "is_ready": parts.is_ready(),
            "invoke": ["/invocations", "/endpoints/{endpoint}/invocations", "/v2/models/{name}/infer"],
            "manage": ["/models", "/v2/repository/index", "/admin/residency"],
            "watch": ["/ping", "/metrics"],
            "documentation": "/docs",
        }

    return routes

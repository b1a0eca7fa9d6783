"""The Prometheus page, and the index of everything."""

from fastapi import APIRouter, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.errors import plain_refusal
from server.api.parts import Parts
from server.api.surface import Surface, respond
from server.telemetry.metrics import Level, Metrics

PATH = "/metrics"


def metrics_app(metrics: Metrics) -> ASGIApp:
    """Build the ASGI app for a port with nothing but this page."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        if scope["type"] != "http":
            return
        if scope["path"] != PATH or scope["method"] not in {"GET", "HEAD"}:
            refused = plain_refusal(Surface.ADMIN, 404, f"this port has GET {PATH} only")
            await respond(send, refused.status, refused.headers, (refused.body,))
            return
        accept = dict(scope["headers"]).get(b"accept", b"").decode("latin-1")
        body, content_type = metrics.page(accept)
        await respond(send, 200, [(b"content-type", content_type.encode("latin-1"))], (body,))

    return app


def router(parts: Parts) -> APIRouter:
    """Build the routes."""
    routes = APIRouter(tags=["Admin"])
    parts.metrics.watch(lambda: [Level("roundhouse_requests_in_flight", "Requests inside", parts.dispatcher.in_flight)])

    @routes.get(PATH, summary="Prometheus metrics under SageMaker's names", response_class=Response)
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
            "watch": ["/ping", "/metrics", "/admin/jobs"],
            "documentation": "/docs",
        }

    return routes

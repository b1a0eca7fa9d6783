"""Puts the HTTP side together: the hot path outside, FastAPI with all other routes inside."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from server.api import openapi, request_context
from server.api.admin import decisions, jobs, metrics, residency
from server.api.body import ClientGone
from server.api.doors import doors, guarded
from server.api.errors import Refusal, as_known, plain_refusal, refusal
from server.api.hot_path import HotPath
from server.api.identified import Identified
from server.api.kserve import health, models, repository
from server.api.parts import Parts
from server.api.sagemaker import async_inference, container, multi_model
from server.api.surface import surface_of
from server.domain.errors import Bug, InvalidRequest, RoundhouseError

ROUTERS: Final = (
    container.router,
    multi_model.router,
    health.router,
    repository.router,
    models.router,  # after the others below /v2: a model's name may be any path
    async_inference.router,
    residency.router,
    decisions.router,
    jobs.router,
    metrics.router,
)


def build_app(parts: Parts, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]] | None = None) -> ASGIApp:
    """Build the server's ASGI app. `lifespan` runs around the whole life of the server."""
    rest = FastAPI(
        title="Roundhouse",
        version=parts.options.version,
        description="Thousands of Triton model archives on one host, behind the APIs of SageMaker and KServe v2.",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    for router in ROUTERS:
        rest.include_router(router(parts))
    rest.add_exception_handler(RoundhouseError, _refuse)
    rest.add_exception_handler(RequestValidationError, _refuse_arguments)
    rest.add_exception_handler(HTTPException, _refuse_http)
    rest.add_exception_handler(ClientGone, _say_nothing)
    rest.add_exception_handler(Exception, _refuse)
    openapi.with_hot_paths(rest)
    hot_path = HotPath(parts, doors(parts.clock, parts.options.inference_type), Identified(rest))
    return guarded(hot_path, parts.options)


async def _refuse(request: Request, error: Exception) -> Response:
    known = as_known(error)
    refused = refusal(surface_of(request.url.path), known)
    request_context.note_error(request.url.path, refused.status, error, isinstance(known, Bug))
    return _response(refused)


async def _refuse_arguments(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    return await _refuse(request, InvalidRequest(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"))


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refused = plain_refusal(surface_of(request.url.path), error.status_code, error.detail)
    refused.headers.extend((name.encode(), value.encode()) for name, value in (error.headers or {}).items())
    return _response(refused)


async def _say_nothing(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)


def _response(refused: Refusal) -> Response:
    response = Response(refused.body, status_code=refused.status)
    for name, value in refused.headers:
        response.headers[name.decode("latin-1")] = value.decode("latin-1")
    return response

"""Puts the HTTP side together: the hot path outside, FastAPI with all other routes inside."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from server.api import openapi, request_context
from server.api.admin import decisions, jobs, metrics, residency
from server.api.body import ClientGone
from server.api.default_accept import DefaultAccept
from server.api.door import Door
from server.api.errors import Refusal, as_known, plain_refusal, refusal
from server.api.hot_path import HotPath
from server.api.identified import Identified
from server.api.kserve import health, models, repository
from server.api.kserve.infer import KServeDoor
from server.api.parts import HttpOptions, Parts
from server.api.restricted import Restricted
from server.api.sagemaker import async_inference, container, multi_model
from server.api.sagemaker.invoke import MultiDoor, RuntimeDoor, SingleDoor
from server.api.surface import Surface, surface_of
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
    return _guarded(HotPath(parts, _doors(parts), Identified(rest)), parts.options)


def _doors(parts: Parts) -> Mapping[Surface, Door]:
    clock, inference_type = parts.clock, parts.options.inference_type
    return {
        Surface.SINGLE: SingleDoor(clock, inference_type),
        Surface.MULTI: MultiDoor(clock),
        Surface.RUNTIME: RuntimeDoor(clock, inference_type),
        Surface.KSERVE: KServeDoor(),
    }


def _guarded(app: ASGIApp, options: HttpOptions) -> ASGIApp:
    """Put around the app what was asked for, and nothing else: the hot path pays for none of it otherwise."""
    if options.default_accept:
        app = DefaultAccept(app, options.default_accept)
    if options.restrictions:
        app = Restricted(app, options.restrictions)
    return app


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

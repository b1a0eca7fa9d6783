"""All doors of the hot path by surface, and what may be put around it."""

from collections.abc import Mapping

from starlette.types import ASGIApp

from server.api.default_accept import DefaultAccept
from server.api.door import Door
from server.api.kserve.infer import KServeDoor
from server.api.parts import HttpOptions
from server.api.restricted import Restricted
from server.api.sagemaker.invoke import MultiDoor, RuntimeDoor, SingleDoor
from server.api.surface import Surface
from server.domain.clock import Clock
from server.domain.payload import InferenceType


def doors(clock: Clock, inference_type: InferenceType) -> Mapping[Surface, Door]:
    """Make them. `inference_type`: what `/invocations` and the runtime's endpoints mean."""
    return {
        Surface.SINGLE: SingleDoor(clock, inference_type),
        Surface.MULTI: MultiDoor(clock),
        Surface.RUNTIME: RuntimeDoor(clock, inference_type),
        Surface.KSERVE: KServeDoor(),
    }


def guarded(app: ASGIApp, options: HttpOptions) -> ASGIApp:
    """Put around the app what was asked for, and nothing else: the hot path pays for none of it otherwise."""
    if options.default_accept:
        app = DefaultAccept(app, options.default_accept)
    if options.restrictions:
        app = Restricted(app, options.restrictions)
    return app

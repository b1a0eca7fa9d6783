"""Inference in a tritonserver that another process of ours supervises: the engine of a front-end worker.

It loads nothing and restarts nothing. Where tritonserver, or a model's process in it, is gone, the error is EngineLost,
and the supervising process knows what to do.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from server.domain.errors import EngineLost, UnsupportedOperation
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import Device, Footprint, Step, StepDigest
from server.domain.payload import Framed, FramedAnswer
from server.engines.triton.wire.answers import answered, checked
from server.engines.triton.wire.errors import Refused, ServerGone, Subject, broken_model, infer_error
from server.engines.triton.wire.http_client import HttpClient

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a resident step can be asked: its name in Triton, the HTTP port on loopback, the device.

    `names`: what authors call the steps, by their names in Triton.
    """

    port: int
    model: str
    device: Device
    names: Mapping[str, str]


class BorrowedTriton:
    """An `Engine` that runs steps wherever it was told that they are, and does nothing else. On one event loop."""

    def __init__(self, connections: int) -> None:
        """`connections`: keep-alive ones to a tritonserver, at most."""
        self._connections = connections
        self._steps: dict[StepDigest, tuple[Step, Whereabouts]] = {}
        self._uses: Counter[StepDigest] = Counter()
        self._clients: dict[int, HttpClient] = {}

    def learn(self, step: Step, at: Whereabouts) -> None:
        """The step is there. A server on another port has taken the place of the one before."""
        for port in [port for port in self._clients if port != at.port]:
            self._clients.pop(port).close()
        if at.port not in self._clients:
            self._clients[at.port] = HttpClient(at.port, self._connections)
        self._steps[step.digest] = step, at
        self._uses[step.digest] += 1

    def forget(self, digest: StepDigest) -> None:
        """Whoever said `learn` needs the step no more."""
        self._uses[digest] -= 1
        if self._uses[digest] <= 0:
            del self._uses[digest]
            self._steps.pop(digest, None)

    async def infer(self, digest: StepDigest, request: InferenceRequest) -> InferenceResponse:
        """Run one request. See `Engine.infer`."""
        step, at, client = self._find(digest)
        return answered(step, request, await _told(step, at, client.infer(at.model, request)))

    async def pass_on(self, digest: StepDigest, request: Framed) -> FramedAnswer:
        """Run one request as it came. See `PassingEngine.pass_on`."""
        step, at, client = self._find(digest)
        return checked(step, await _told(step, at, client.pass_on(at.model, request)))

    def _find(self, digest: StepDigest) -> tuple[Step, Whereabouts, HttpClient]:
        step, at = self._steps[digest]
        client = self._clients.get(at.port)
        if client is None:
            raise EngineLost(f"tritonserver was restarted, and step {step.name!r} is somewhere else")
        return step, at, client

    def close(self) -> None:
        """Drop all connections."""
        for client in self._clients.values():
            client.close()

    # What only the supervising process does. All of it raises UnsupportedOperation.

    def predict(self, step: Step) -> Footprint:
        """Not here."""
        raise _elsewhere("predict", step.name)

    async def load(self, step: Step) -> Footprint:
        """Not here."""
        raise _elsewhere("load", step.name)

    async def unload(self, digest: StepDigest) -> None:
        """Not here."""
        raise _elsewhere("unload", digest)

    async def stream(self, digest: StepDigest, request: InferenceRequest) -> AsyncGenerator[InferenceResponse, None]:  # noqa: ARG002
        """Not here."""
        raise _elsewhere("stream", digest)
        yield  # it is a generator


async def _told(step: Step, at: Whereabouts, answer: Awaitable[AnswerT]) -> AnswerT:
    """Await Triton's answer; what goes wrong is told in our words."""
    try:
        return await answer
    except Refused as refused:
        if broken_model(refused) is not None:
            raise EngineLost(f"the process of step {step.name!r} died") from refused
        raise infer_error(refused, Subject(step.name, at.device, at.names)) from refused
    except ServerGone as gone:
        raise EngineLost(f"tritonserver died while it ran step {step.name!r}") from gone


def _elsewhere(what: str, step: str) -> UnsupportedOperation:
    return UnsupportedOperation(
        f"a front-end worker cannot {what} step {step!r}: its home process does. This is a bug."
    )

"""The one road of a request, over the real residency, with time that jumps."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from server.domain.errors import (
    ArchiveNotFound,
    DeadlineExceeded,
    Draining,
    EngineLost,
    InferenceFailed,
    InvalidRequest,
    NotReady,
    Overloaded,
)
from server.domain.inference import InferenceRequest, Tensor
from server.domain.model import CPU
from server.domain.payload import Answer, Decoded, Payload
from server.residency.options import ResidencyOptions
from server.residency.residency import Residency
from server.serving.admission import Admission
from server.serving.dispatcher import Dispatcher, DispatchOptions
from server.serving.stages import OFFLOAD_BYTES
from server.telemetry.metrics import Metrics
from tests.fakes.engine import FakeEngine, echo
from tests.fakes.source import FakeSource, archive

pytestmark = pytest.mark.looptime
DATA = Tensor("INPUT0", "FP32", np.zeros(2, np.float32))


class LoopClock:
    """The running loop's time, which jumps under looptime."""

    def now(self):
        return asyncio.get_running_loop().time()

    wall = now


def decode(payload, archive):
    if payload.body == b"bad":
        raise InvalidRequest("bad")
    request = InferenceRequest({"INPUT0": DATA})
    return Decoded(request, lambda _response, name: Answer((name.encode(),), "text/plain"))


class Road:
    """A dispatcher and what it stands on. `engine.answer` may be a coroutine function."""

    def __init__(self, limit=10, **options):
        self.engine = SlowEngine()
        self.source = FakeSource(archive("a"), archive("b"))
        clock = LoopClock()
        residency = ResidencyOptions(lost_retries=0, failure_ttl_s=0)
        self.residency = Residency(self.engine, self.source, {CPU: 100}, clock, residency)
        self.admission = Admission(limit)
        self.metrics = Metrics()
        self.dispatcher = Dispatcher(
            self.residency, self.engine, decode, clock, self.admission, self.metrics, DispatchOptions(**options)
        )

    def leases(self):
        return [resident["leases"] for resident in self.residency.snapshot()["residents"]]

    async def invoke(self, name="a", body=b"good", timeout_s=None):
        return await self.dispatcher.invoke(name, Payload(body), timeout_s)


class SlowEngine(FakeEngine):
    """Takes `infer_s`; raises `infer_faults` first."""

    def __init__(self):
        super().__init__(answer=echo)
        self.infer_s = 0.0
        self.infer_faults = []

    async def infer(self, digest, request):
        await asyncio.sleep(self.infer_s)
        if self.infer_faults:
            raise self.infer_faults.pop(0)
        return await super().infer(digest, request)


async def test_an_answer_says_what_it_took():
    road = Road()
    road.engine.load_s, road.engine.infer_s = 3.0, 2.0
    cold = await road.invoke()
    assert (cold.warmth, cold.answer.body) == ("disk", (b"a",))
    assert (cold.load_s, cold.waited_s, cold.infer_s, cold.total_s) == pytest.approx((3.0, 3.0, 2.0, 5.0))
    warm = await road.invoke()
    assert (warm.warmth, warm.load_s, warm.waited_s) == ("resident", 0.0, 0.0)


@pytest.mark.parametrize(
    ("name", "body", "fault", "kind"),
    [
        ("nowhere", b"good", None, ArchiveNotFound),
        ("a", b"bad", None, InvalidRequest),
        ("a", b"good", InferenceFailed("no"), InferenceFailed),
    ],
)
async def test_whatever_goes_wrong_the_lease_and_the_slot_come_back(name, body, fault, kind):
    road = Road()
    road.engine.infer_faults = [fault] if fault else []
    with pytest.raises(kind):
        await road.invoke(name, body)
    assert road.admission.running == 0
    assert not any(road.leases())
    assert road.metrics.statistics(name)["errors"] == 1


async def test_a_dead_engine_is_asked_once_more():
    road = Road()
    road.engine.infer_faults = [EngineLost("dead")]
    served = await road.invoke()
    assert served.answer.body == (b"a",)
    assert road.metrics.statistics("a")["errors"] == 0


async def test_the_second_try_waits_until_the_death_is_known():
    """The connection breaks first; residency hears of the death a moment later."""
    road = Road(lost_pause_s=0.2)
    await road.invoke()
    await road.engine.start(road.residency.lost)
    road.engine.infer_faults = [EngineLost("the connection broke")]
    asyncio.get_running_loop().call_later(0.1, road.engine.lose)
    served = await road.invoke()
    assert served.warmth == "disk"


async def test_an_engine_that_dies_twice_is_the_caller_s_to_see():
    road = Road()
    road.engine.infer_faults = [EngineLost("dead"), EngineLost("dead again")]
    with pytest.raises(EngineLost, match="again"):
        await road.invoke()
    assert not any(road.leases())


async def test_time_that_runs_out_while_inferring_is_told_and_the_work_stopped():
    road = Road(timeout_s=5.0)
    road.engine.infer_s = 60.0
    with pytest.raises(DeadlineExceeded, match="5 s"):
        await road.invoke()
    assert not any(road.leases())


async def test_a_caller_may_give_less_time():
    road = Road(timeout_s=50.0)
    road.engine.infer_s = 10.0
    with pytest.raises(DeadlineExceeded, match="2 s"):
        await road.invoke(timeout_s=2.0)


async def test_loading_takes_from_the_same_time():
    road = Road(timeout_s=5.0)
    road.engine.load_s, road.engine.infer_s = 4.0, 4.0
    with pytest.raises(DeadlineExceeded):
        await road.invoke()
    assert asyncio.get_running_loop().time() == pytest.approx(5.0, abs=0.1)


async def test_a_load_that_takes_too_long_is_not_ready_and_goes_on():
    road = Road(load_wait_s=1.0)
    road.engine.load_s = 3.0
    with pytest.raises(NotReady):
        await road.invoke()
    await asyncio.sleep(3.0)
    assert (await road.invoke()).warmth == "resident"


async def test_an_engine_s_own_timeout_error_is_not_taken_for_the_deadline():
    road = Road()
    road.engine.infer_faults = [TimeoutError()]
    with pytest.raises(TimeoutError):
        await road.invoke()


async def test_cancelling_gives_everything_back():
    road = Road()
    await road.invoke()
    road.engine.infer_s = 60.0
    request = asyncio.create_task(road.invoke())
    await asyncio.sleep(1.0)
    assert road.leases() == [1]
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert (road.leases(), road.admission.running) == ([0], 0)


async def test_over_the_limit_nothing_is_leased():
    road = Road(limit=1)
    road.engine.infer_s = 10.0
    first = asyncio.create_task(road.invoke())
    await asyncio.sleep(1.0)
    with pytest.raises(Overloaded):
        await road.invoke("b")
    await first
    assert "b" not in road.source.staged


async def test_a_draining_server_takes_nothing_new():
    road = Road()
    assert await road.admission.drain(1.0)
    with pytest.raises(Draining):
        await road.invoke()


async def test_large_bodies_and_answers_take_the_same_road():
    road = Road()
    large = Tensor("INPUT0", "FP32", np.zeros(OFFLOAD_BYTES, np.float32))
    road.engine.answer = lambda _digest, request: replace(echo(_digest, request), outputs=(large,))
    served = await road.invoke(body=bytes(OFFLOAD_BYTES))
    assert served.answer.body == (b"a",)

"""Streams on the one road: what is held while somebody reads, and what comes back whatever happens."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from server.domain.errors import DeadlineExceeded, EngineLost, InferenceFailed, InvalidRequest, Overloaded
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.domain.model import CPU
from server.domain.payload import Answer, Decoded, Payload
from server.residency.options import ResidencyOptions
from server.residency.residency import Residency
from server.serving.admission import Admission
from server.serving.dispatcher import Dispatcher, DispatchOptions
from server.telemetry.metrics import Metrics
from tests.fakes.engine import FakeEngine
from tests.fakes.source import SIGNATURE, FakeSource, archive, step

pytestmark = pytest.mark.looptime
NOTHING = InferenceResponse(())


class LoopClock:
    def now(self):
        return asyncio.get_running_loop().time()

    wall = now


def says(number, **parameters):
    """A response of one number."""
    return InferenceResponse((Tensor("INPUT0", "FP32", np.array([number], np.float32)),), parameters)


def decode(payload, _archive):
    if payload.body == b"bad":
        raise InvalidRequest("bad")
    request = InferenceRequest({})
    return Decoded(request, write, is_only_one=payload.is_generate)


def write(response, _name):
    [value] = response.outputs[0].data if response.outputs else [-1]
    if value == 13:
        raise InferenceFailed("cannot be written")
    return Answer((b"%d" % value,), "text/plain")


async def read_into(seen, answers):
    async for streamed in answers:
        seen += streamed.answer.body


class StreamingEngine(FakeEngine):
    """Gives `script`: responses, seconds to wait, errors to raise. `closed` counts streams that came to an end."""

    def __init__(self):
        super().__init__()
        self.script = []
        self.lost = []
        self.closed = 0

    async def stream(self, digest, request):
        if self.lost:
            raise self.lost.pop(0)
        try:
            for item in self.script:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, float):
                    await asyncio.sleep(item)
                else:
                    yield item
        finally:
            self.closed += 1


class Road:
    def __init__(self, *script, limit=10, is_decoupled=True, **options):
        self.engine = StreamingEngine()
        self.engine.script = list(script)
        entry = step("entry", signature=replace(SIGNATURE, is_decoupled=is_decoupled))
        clock = LoopClock()
        residency = ResidencyOptions(lost_retries=0, failure_ttl_s=0)
        self.residency = Residency(self.engine, FakeSource(archive("a", entry)), {CPU: 100}, clock, residency)
        self.admission = Admission(limit)
        self.metrics = Metrics()
        self.dispatcher = Dispatcher(
            self.residency, self.engine, decode, clock, self.admission, self.metrics, DispatchOptions(**options)
        )

    def stream(self, body=b"good", timeout_s=None):
        return self.dispatcher.stream("a", Payload(body, is_stream=True), timeout_s)

    async def read(self, **arguments):
        async with self.stream(**arguments) as answers:
            return [streamed.answer.body[0] async for streamed in answers]

    async def invoke(self, **more):
        return (await self.dispatcher.invoke("a", Payload(b"good", **more))).answer.body[0]

    def is_free(self):
        leases = [resident["leases"] for resident in self.residency.snapshot()["residents"]]
        return self.admission.running == 0 and not any(leases)

    def counts(self):
        counted = self.metrics.statistics("a")
        return counted["count"], counted["errors"]


async def test_answers_come_one_by_one():
    road = Road(says(1), 2.0, says(2), 3.0, says(3))
    loop = asyncio.get_running_loop()
    seen = []
    async with road.stream() as answers:
        assert (answers.name, answers.warmth, answers.first.answer.body) == ("a", "disk", (b"1",))
        async for streamed in answers:
            seen.append((streamed.answer.body[0], loop.time()))
            assert not road.is_free()
    assert [body for body, _ in seen] == [b"1", b"2", b"3"]
    assert np.diff([at for _, at in seen]) == pytest.approx([2.0, 3.0], abs=0.1)
    assert answers.infer_s == pytest.approx(5.0, abs=0.1)
    assert road.is_free()
    assert road.counts() == (1, 0)


async def test_what_says_nothing_is_left_out():
    road = Road(NOTHING, says(1), NOTHING, InferenceResponse((), {"progress": 0.5}))
    assert await road.read() == [b"1", b"-1"]


async def test_a_stream_may_be_empty():
    road = Road()
    async with road.stream() as answers:
        assert answers.first is None
        assert [each async for each in answers] == []
    assert road.counts() == (1, 0)


@pytest.mark.parametrize(
    ("script", "body", "kind"),
    [
        ([], b"bad", InvalidRequest),
        ([InferenceFailed("no")], b"good", InferenceFailed),
        ([says(13)], b"good", InferenceFailed),
        ([60.0, says(1)], b"good", DeadlineExceeded),
    ],
    ids=["payload", "model", "encoding", "time"],
)
async def test_what_fails_before_the_first_answer_fails_on_entering(script, body, kind):
    road = Road(*script, timeout_s=5.0)
    with pytest.raises(kind):
        await road.read(body=body)
    assert road.is_free()
    assert road.counts() == (0, 1)


@pytest.mark.parametrize(
    ("second", "kind"),
    [(InferenceFailed("no"), InferenceFailed), (says(13), InferenceFailed), (EngineLost("dead"), EngineLost)],
    ids=["model", "encoding", "engine"],
)
async def test_what_fails_later_ends_the_iteration_and_is_not_tried_again(second, kind):
    road = Road(says(1), second, says(2))
    seen = []
    async with road.stream() as answers:
        with pytest.raises(kind):
            await read_into(seen, answers)
        assert answers.is_broken
    assert road.engine.closed == 1
    assert road.is_free()
    assert road.counts() == (0, 1)


async def test_each_further_answer_has_the_time_of_a_request():
    road = Road(says(1), 4.0, says(2), 4.0, says(3), 6.0, says(4), timeout_s=5.0)
    seen = []
    async with road.stream() as answers:
        with pytest.raises(DeadlineExceeded, match="5 s"):
            await read_into(seen, answers)
    assert answers.infer_s == pytest.approx(13.0, abs=0.1)
    assert seen == [b"1", b"2", b"3"]
    assert road.engine.closed == 1
    assert road.is_free()


async def test_loading_takes_from_the_time_of_the_first_answer():
    road = Road(4.0, says(1), timeout_s=5.0)
    road.engine.load_s = 4.0
    with pytest.raises(DeadlineExceeded):
        await road.read()
    assert road.is_free()


async def test_an_engine_that_dies_before_the_first_answer_is_asked_once_more():
    road = Road(says(1))
    road.engine.lost = [EngineLost("dead")]
    assert await road.read() == [b"1"]
    road.engine.lost = [EngineLost("dead"), EngineLost("dead again")]
    with pytest.raises(EngineLost, match="again"):
        await road.read()
    assert road.is_free()


async def test_leaving_early_cancels_the_model():
    road = Road(*map(says, range(100)))
    async with road.stream() as answers:
        async for _ in answers:
            break
    assert road.engine.closed == 1
    assert road.is_free()


async def test_cancelling_the_reader_cancels_the_model():
    road = Road(says(1), 60.0, says(2))
    reader = asyncio.create_task(road.read())
    await asyncio.sleep(1.0)
    assert not road.is_free()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert road.engine.closed == 1
    assert road.is_free()


async def test_a_stream_takes_a_slot():
    road = Road(says(1), limit=1)
    async with road.stream():
        with pytest.raises(Overloaded):
            await road.read()
    assert road.is_free()


@pytest.mark.parametrize(
    ("script", "body"),
    [
        ([says(1)], b"1"),
        ([says(1), says(2)], b"2"),
        ([says(1), NOTHING, InferenceResponse((), {"finished": True})], b"1"),
    ],
)
async def test_a_caller_who_reads_no_stream_gets_the_last_response_with_outputs(script, body):
    road = Road(*script)
    assert await road.invoke() == body
    assert road.engine.closed == 1
    assert road.is_free()


@pytest.mark.parametrize("script", [[], [NOTHING]])
async def test_a_model_that_ends_without_an_answer_has_failed(script):
    road = Road(*script)
    with pytest.raises(InferenceFailed, match="without an answer"):
        await road.invoke()
    assert road.is_free()


async def test_generate_needs_exactly_one_response():
    assert await Road(says(1)).invoke(is_generate=True) == b"1"
    road = Road(says(1), says(2), says(3))
    with pytest.raises(InferenceFailed, match="generate_stream"):
        await road.invoke(is_generate=True)
    assert road.engine.closed == 1
    with pytest.raises(InferenceFailed):
        await Road().invoke(is_generate=True)


async def test_parameters_of_a_response_are_told():
    served = await Road(says(1, new_session_id="s")).dispatcher.invoke("a", Payload(b"good"))
    assert served.parameters == {"new_session_id": "s"}
    async with Road(says(1, new_session_id="s")).stream() as answers:
        assert answers.first.parameters == {"new_session_id": "s"}

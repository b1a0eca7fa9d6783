"""Requests that wait together, run together, and fail alone. Time jumps."""

import asyncio

import numpy as np
import pytest

from server.domain.errors import DeadlineExceeded, EngineLost, InferenceFailed, InvalidRequest, Overloaded
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.serving.batch_line import BatchLine
from server.serving.batch_rules import BatchRules, QueuePolicy

pytestmark = pytest.mark.looptime


class LoopClock:
    def now(self):
        return asyncio.get_running_loop().time()

    wall = now


class Model:
    """Doubles its rows in a second. A row of -1 is refused, -2 loses the engine; `gives` changes the answer's rows."""

    def __init__(self, gives=lambda data: data * 2):
        self.gives = gives
        self.ran = []
        self.cancelled = 0
        self.logged = []

    async def infer(self, request):
        data = request.inputs["X"].data
        self.ran.append([int(value) for value in data[:, 0]])
        try:
            await asyncio.sleep(1.0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if (data == -1).any():
            raise InvalidRequest("minus one")
        if (data == -2).any():
            raise EngineLost("minus two")
        return InferenceResponse((Tensor("Y", "FP32", self.gives(data)),))

    def ran_rows(self, rows, waited_s):
        self.logged.append((rows, [round(each, 3) for each in waited_s]))


class Told:
    def __init__(self, model):
        self.ran = model.ran_rows


def asked(*values, **parameters):
    data = np.array([[value] for value in values], np.float32)
    return InferenceRequest({"X": Tensor("X", "FP32", data)}, parameters=parameters)


class Line:
    """A line in front of a model."""

    def __init__(self, model=None, width=1, **rules):
        self.model = model or Model()
        options = {"max_rows": 8, **rules}
        self.line = BatchLine(BatchRules(**options), self.model.infer, width, LoopClock(), Told(self.model))

    async def ask(self, *values, **parameters):
        answer = await self.line.join(asked(*values, **parameters))
        return answer.outputs[0].data[:, 0].tolist()

    def asking(self, *values, **parameters):
        return asyncio.create_task(self.ask(*values, **parameters))


async def settle():
    for _ in range(4):
        await asyncio.sleep(0)


async def test_an_idle_model_never_waits_for_more():
    line = Line()
    assert await line.ask(1) == [2]
    assert await line.ask(2) == [4]
    assert line.model.ran == [[1], [2]]
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)
    assert line.model.logged == [(1, [0.0]), (1, [0.0])]
    assert line.line.is_idle


async def test_what_gathers_while_it_runs_goes_together():
    line = Line()
    answers = await asyncio.gather(line.ask(1), line.ask(2), line.ask(3, 4), line.ask(5))
    assert answers == [[2], [4], [6, 8], [10]]
    assert line.model.ran == [[1], [2, 3, 4, 5]]
    assert line.model.logged[1] == (4, [1.0, 1.0, 1.0])
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)


async def test_as_many_run_side_by_side_as_may():
    line = Line(width=2)
    await asyncio.gather(*(line.ask(value) for value in range(6)))
    assert line.model.ran == [[0], [1], [2, 3, 4, 5]]


async def test_no_batch_is_larger_than_the_model_takes():
    line = Line(max_rows=3)
    await asyncio.gather(*(line.ask(value) for value in range(6)))
    assert line.model.ran == [[0], [1, 2, 3], [4, 5]]


async def test_requests_that_differ_go_apart():
    line = Line()
    await asyncio.gather(line.ask(0), line.ask(1, beam=1), line.ask(2), line.ask(3, beam=1))
    assert line.model.ran == [[0], [1, 3], [2]]


async def test_a_bad_request_fails_alone():
    line = Line()
    outcomes = await asyncio.gather(*(line.ask(value) for value in (0, 1, -1, 3)), return_exceptions=True)
    assert [outcomes[index] for index in (0, 1, 3)] == [[0], [2], [6]]
    assert isinstance(outcomes[2], InvalidRequest)
    assert line.model.ran == [[0], [1, -1, 3], [1], [-1], [3]]
    assert line.line.is_idle


async def test_a_lost_engine_is_everybody_s_to_see():
    line = Line()
    outcomes = await asyncio.gather(*(line.ask(value) for value in (0, 1, -2)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[1:]] == [EngineLost, EngineLost]
    assert line.line.is_idle


async def test_a_model_whose_rows_cannot_be_told_apart_is_not_merged_again():
    line = Line(Model(gives=lambda data: data[:1] * 2))
    assert await asyncio.gather(*(line.ask(value) for value in range(3))) == [[0], [2], [4]]
    assert line.model.ran == [[0], [1, 2], [1], [2]]
    await asyncio.gather(*(line.ask(value) for value in range(3)))
    assert line.model.ran[4:] == [[0], [1], [2]]


async def test_who_is_cancelled_in_line_is_gone_and_the_others_are_not():
    line = Line()
    first, second, third = line.asking(0), line.asking(1), line.asking(2)
    await settle()
    second.cancel()
    assert (await first, await third) == ([0], [4])
    assert line.model.ran == [[0], [2]]


async def test_who_is_cancelled_in_a_batch_leaves_it_to_the_others():
    line = Line()
    first, second, third = line.asking(0), line.asking(1), line.asking(2)
    await first
    await settle()
    second.cancel()
    assert await third == [4]
    assert line.model.ran == [[0], [1, 2]]
    assert line.model.cancelled == 0


async def test_a_batch_that_nobody_waits_for_ends():
    line = Line()
    first, *others = line.asking(0), line.asking(1), line.asking(2)
    await first
    await settle()
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await settle()
    assert line.model.cancelled == 1
    assert await line.ask(3) == [6]
    assert line.line.is_idle


async def test_cancelling_who_runs_alone_starts_the_next():
    line = Line()
    first, second = line.asking(0), line.asking(1)
    await settle()
    first.cancel()
    assert await second == [2]
    assert asyncio.get_running_loop().time() == pytest.approx(1.0)


async def test_a_delay_that_the_config_asks_for_is_kept():
    line = Line(max_delay_s=0.5, max_rows=3)
    asking = [line.asking(0)]
    await asyncio.sleep(0.3)
    asking.append(line.asking(1))
    await asyncio.sleep(0.1)
    assert line.model.ran == []
    await asyncio.sleep(0.2)
    assert line.model.ran == [[0, 1]]
    await asyncio.gather(*asking, line.ask(2), line.ask(3), line.ask(4))  # full: nobody waits
    assert line.model.ran == [[0, 1], [2, 3, 4]]


async def test_batches_are_cut_to_preferred_sizes():
    line = Line(preferred_rows=(2, 4))
    await asyncio.gather(*(line.ask(value) for value in range(8)))
    assert [len(rows) for rows in line.model.ran] == [1, 4, 3]


async def test_the_urgent_go_first():
    line = Line(priority_levels=2, default_priority=2, max_rows=2)
    asking = [line.asking(value) for value in (0, 1, 2)] + [line.asking(3, priority=1), line.asking(4, priority=1)]
    await asyncio.gather(*asking)
    assert line.model.ran == [[0], [3, 4], [1, 2]]


async def test_a_full_queue_refuses():
    line = Line(policy=QueuePolicy(max_waiting=2))
    asking = [line.asking(value) for value in range(3)]
    await settle()
    with pytest.raises(Overloaded, match="more than 2 requests wait for this model"):
        await line.ask(3)
    assert await asyncio.gather(*asking) == [[0], [2], [4]]


async def test_who_waits_for_too_long_is_refused():
    line = Line(policy=QueuePolicy(timeout_s=0.5, may_override=True))
    asking = [line.asking(0), line.asking(1), line.asking(2, timeout=200_000)]
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(outcome) for outcome in outcomes[1:]] == [
        "the request did not finish within 0.5 s",
        "the request did not finish within 0.2 s",
    ]
    assert isinstance(outcomes[1], DeadlineExceeded)
    assert line.model.ran == [[0]]


async def test_who_waits_for_too_long_goes_behind_the_others_where_the_policy_says_so():
    line = Line(policy=QueuePolicy(timeout_s=0.5, is_delayed=True), max_rows=2)
    asking = [line.asking(0), line.asking(1)]
    await asyncio.sleep(0.7)
    asking += [line.asking(2), line.asking(3)]
    await asyncio.gather(*asking)
    assert line.model.ran == [[0], [2, 3], [1]]


async def test_a_failure_of_one_alone_is_its_own():
    line = Line(Model(gives=None))
    line.model.gives = lambda _data: (_ for _ in ()).throw(InferenceFailed("no"))
    with pytest.raises(InferenceFailed):
        await line.ask(1)
    assert line.line.is_idle

"""Asynchronous inference as a whole: accepting, repeating, limits, draining, taking up, showing."""

import asyncio
import itertools

import pytest

from server.domain.errors import Draining, InvalidHeader, NotReady, Overloaded, StoreUnavailable
from server.jobs.async_inference import Call
from server.jobs.journal_files import JournalFiles
from server.jobs.outcome import Status
from tests.fakes.clock import FakeClock
from tests.unit.jobs.job_fakes import INPUT, JobsUnderTest

pytestmark = pytest.mark.looptime


def call(inference_id="", **members):
    named = {"InferenceId": inference_id} if inference_id else {}
    return Call("endpoint", "a", {"InputLocation": str(INPUT), **named, **members})


@pytest.fixture
def make(tmp_path):
    def made(**options):
        serial = itertools.count()
        named = {"new_id": lambda: f"made-{next(serial)}", **options}
        return JobsUnderTest(tmp_path / "jobs", FakeClock(), **named)

    return made


async def settled(under):
    while under.jobs.snapshot()["running"]:
        await asyncio.sleep(0.1)


async def test_a_job_is_carried_out(make):
    under = make()
    await under.jobs.begin()
    job = await under.jobs.submit(call())
    await settled(under)
    assert under.objects.objects[job.output] == (b"PAYLOAD", "text/upper", "made-0")
    shown = under.jobs.snapshot()
    assert (shown["waiting"], shown["ended"]) == (0, {"Completed": 1, "Failed": 0, "Expired": 0})
    assert shown["last"][0] == {
        "inference_id": "made-0",
        "archive": "a",
        "endpoint": "endpoint",
        "input": "s3://in/x.json",
        "accepted": "2027-01-15T08:00:00.000Z",
        "age_s": 0.0,
        "status": "Completed",
        "reason": "",
        "written": "s3://out/results/made-0.out",
        "ended": "2027-01-15T08:00:00.000Z",
    }


async def test_only_so_many_are_under_way_and_only_so_many_wait(make):
    under = make(concurrency=2, limit=3)
    under.road.open.clear()
    await under.jobs.begin()
    for _ in range(5):
        await under.jobs.submit(call())
    await asyncio.sleep(1)
    assert under.road.inside == 2
    levels = {level.name: level.value for level in under.jobs.levels()}
    assert (levels["roundhouse_jobs_queued"], levels["roundhouse_jobs_running"]) == (3, 2)
    assert len(under.jobs.snapshot()["next"]) == 3
    with pytest.raises(Overloaded):
        await under.jobs.submit(call())
    under.road.open.set()
    await settled(under)
    assert {level.name: level.value for level in under.jobs.levels()}["roundhouse_jobs_succeeded"] == 5


async def test_a_call_that_is_repeated_is_answered_with_the_same_job(make):
    under = make()
    under.road.open.clear()
    await under.jobs.begin()
    both = await asyncio.gather(under.jobs.submit(call("i")), under.jobs.submit(call("i")))
    assert both[0] == both[1]
    with pytest.raises(InvalidHeader, match="another job"):
        await under.jobs.submit(call("i", Accept="x/y"))
    under.road.open.set()
    await settled(under)
    assert len(under.road.asked) == 1
    again = await under.jobs.submit(call("i"))
    assert again.id != both[0].id, "what has ended may be asked for anew"
    await settled(under)


class FullDisk(JournalFiles):
    def write(self, name, content):
        raise OSError(28, "No space left on device")


async def test_what_cannot_be_written_down_is_not_accepted(make, tmp_path):
    under = make(files=FullDisk(tmp_path / "jobs"))
    await under.jobs.begin()
    with pytest.raises(StoreUnavailable, match="No space left"):
        await under.jobs.submit(call("i"))
    assert under.road.asked == []
    with pytest.raises(StoreUnavailable):
        await under.jobs.submit(call("i", Accept="x/y"))  # its place is free again


async def test_before_the_beginning_and_after_the_end_nothing_is_accepted(make):
    under = make()
    with pytest.raises(NotReady):
        await under.jobs.submit(call())
    await under.jobs.begin()
    await under.jobs.drain(1.0)
    with pytest.raises(Draining):
        await under.jobs.submit(call())
    await under.jobs.end()
    assert under.objects.is_closed


async def test_draining_lets_finish_what_runs_and_leaves_the_rest(make):
    under = make(concurrency=1)
    under.road.infer_s = 5.0
    await under.jobs.begin()
    for name in ("first", "second", "third"):
        await under.jobs.submit(call(name))
    await asyncio.sleep(1)
    await under.jobs.drain(10.0)
    assert asyncio.get_running_loop().time() == pytest.approx(5, abs=0.5)
    assert [key.key for key in under.objects.objects] == ["results/first.out"]
    assert [(left.job.inference_id, left.starts) for left in under.journal.recover()] == [("second", 0), ("third", 0)]


async def test_draining_stops_what_does_not_finish_in_time(make):
    under = make(concurrency=1)
    under.road.infer_s = 100.0
    await under.jobs.begin()
    await under.jobs.submit(call("long"))
    await asyncio.sleep(1)
    await under.jobs.drain(10.0)
    assert under.road.inside == 0
    assert [(left.job.inference_id, left.starts) for left in under.journal.recover()] == [("long", 0)]


async def test_the_next_server_takes_up_what_was_left_in_order_and_beyond_its_limit(make):
    first = make(concurrency=1)
    first.road.open.clear()
    await first.jobs.begin()
    for n in range(4):
        await first.jobs.submit(call(f"i{n}"))
    await first.jobs.drain(0.0)
    second = make(concurrency=1, limit=1)
    await second.jobs.begin()
    await settled(second)
    assert [key.key for key in second.objects.objects] == [f"results/i{n}.out" for n in range(4)]


async def test_one_job_that_meets_a_broken_disk_does_not_stop_the_others(make, tmp_path):
    class ForgetfulDisk(JournalFiles):
        def rename(self, name, new_name):
            if "bad" in name and ".1.job" in new_name:
                raise OSError(5, "Input/output error")
            super().rename(name, new_name)

    ids = iter(["bad", "good"])
    under = make(files=ForgetfulDisk(tmp_path / "jobs"), concurrency=1, new_id=lambda: next(ids))
    await under.jobs.begin()
    await under.jobs.submit(call())
    good = await under.jobs.submit(call())
    await settled(under)
    assert good.output in under.objects.objects
    assert [left.job.id for left in under.journal.recover()] == ["bad"]
    assert under.jobs.snapshot()["ended"][Status.COMPLETED] == 1

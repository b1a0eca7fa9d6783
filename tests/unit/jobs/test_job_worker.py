"""The life of one job, with time that jumps: what it writes, what it tries again, what it leaves to the next server."""

import asyncio
import json
from dataclasses import replace

import pytest

from server.domain.errors import (
    Draining,
    EngineLost,
    InferenceFailed,
    InvalidRequest,
    NotReady,
    Overloaded,
    StoreUnavailable,
)
from server.jobs.journal import Journal
from server.jobs.journal_files import JournalFiles
from server.jobs.outcome import Status
from server.jobs.processing import Processing
from tests.unit.jobs.job_fakes import FakeObjects, InlineThreads, JobsUnderTest, Road, job

pytestmark = pytest.mark.looptime
AWAY = StoreUnavailable("S3 is away")


class LoopWall:
    """The loop's time as both clocks, from an epoch on."""

    def now(self):
        return asyncio.get_running_loop().time()

    def wall(self):
        return 1_800_000_000.0 + self.now()


@pytest.fixture
def under(tmp_path):
    under = JobsUnderTest(tmp_path / "jobs", LoopWall())
    under.files = tmp_path / "jobs"
    under.files.mkdir()
    return under


async def run(under, accepted, starts=0, body=b""):
    under.journal.accept(accepted, body)
    under.journal.mark(accepted, starts)
    return await under.worker.run(accepted, starts)


def document(under, ended):
    return json.loads(under.objects.objects[ended.job.failure][0])


def left(under):
    return [(recovered.job.inference_id, recovered.starts) for recovered in under.journal.recover()]


async def test_the_result_is_written_told_and_forgotten(under):
    ended = await run(under, job(Accept="x/y"))
    assert ended.outcome.status is Status.COMPLETED
    assert under.objects.objects == {ended.job.output: (b"PAYLOAD", "text/upper", "i")}
    assert under.notifier.told == [ended]
    assert left(under) == []
    ((name, payload, timeout_s),) = under.road.asked
    assert (name, payload.body, payload.content_type, payload.accept) == ("a", b"payload", "text/plain", "x/y")
    assert timeout_s == 900


async def test_the_caller_s_content_type_goes_before_the_object_s(under):
    await run(under, job(ContentType="a/b"))
    assert under.road.asked[0][1].content_type == "a/b"


async def test_the_model_is_told_what_the_caller_said_and_no_more(under):
    named = replace(job(CustomAttributes="c=1"), id="ours")
    unnamed = job("ours-too")
    for each in (named, unnamed):
        await run(under, each)
    assert [payload.parameters for _, payload, _ in under.road.asked] == [
        {"custom_attributes": "c=1", "inference_id": "i"},
        {},
    ]


async def test_a_payload_that_came_with_the_call_is_read_from_the_journal(under):
    ended = await run(under, job(body=b"inline\n"), body=b"inline\n")
    assert under.objects.objects[ended.job.output][0] == b"INLINE\n"


@pytest.mark.parametrize("error", [InferenceFailed("no"), InvalidRequest("no"), EngineLost("no")])
async def test_what_repeating_does_not_cure_is_a_failure_at_once(under, error):
    under.road.faults = [error]
    ended = await run(under, job())
    assert ended.outcome.reason == f"{type(error).__name__}: no"
    assert document(under, ended) == {
        "error": ended.outcome.reason,
        "invocationStatus": "Failed",
        "inferenceId": "i",
        "archive": "a",
        "inputLocation": "s3://in/x.json",
    }
    assert (len(under.road.asked), left(under)) == (1, [])


async def test_a_bug_is_told_without_its_text(under):
    under.road.faults = [ZeroDivisionError("secret")]
    ended = await run(under, job())
    assert "internal error" in ended.outcome.reason
    assert "secret" not in ended.outcome.reason


async def test_what_may_pass_is_tried_again_with_growing_pauses(under):
    under.road.faults = [NotReady("a", 1.0), Overloaded(1), StoreUnavailable("busy")]
    ended = await run(under, job())
    assert ended.outcome.status is Status.COMPLETED
    assert asyncio.get_running_loop().time() == pytest.approx(1 + 2 + 4, abs=0.1)


async def test_trying_again_ends_with_the_time_for_it(under):
    under.road.faults = [NotReady("a", 1.0)] * 100
    ended = await run(under, job(InvocationTimeoutSeconds="20"))
    assert asyncio.get_running_loop().time() == pytest.approx(20, abs=0.1)
    assert "within 20 s (InvocationTimeoutSeconds); it was tried 5 times" in ended.outcome.reason
    assert "not ready yet" in ended.outcome.reason


async def test_an_inference_that_takes_too_long_is_stopped(under):
    under.road.infer_s = 100.0
    ended = await run(under, job(InvocationTimeoutSeconds="20"))
    assert ended.outcome.reason.startswith("DeadlineExceeded: ")
    assert under.road.inside == 0


async def test_an_engine_s_own_timeout_error_is_not_taken_for_the_time_limit(under):
    under.road.faults = [TimeoutError()]
    ended = await run(under, job())
    assert ended.outcome.reason.startswith("Bug: ")


async def test_a_job_that_waited_too_long_is_not_run(under):
    ended = await run(under, job(accepted_at=1_800_000_000.0 - 61, RequestTTLSeconds="60"))
    assert ended.outcome.status is Status.EXPIRED
    assert document(under, ended)["invocationStatus"] == "Expired"
    assert under.road.asked == []


async def test_a_result_is_offered_until_s3_takes_it(under):
    faults = [AWAY] * 6
    under.road.infer_s = 1.0
    running = asyncio.create_task(run(under, job()))
    await asyncio.sleep(0.5)
    under.objects.faults = faults
    ended = await running
    assert ended.outcome.status is Status.COMPLETED
    assert asyncio.get_running_loop().time() == pytest.approx(1 + 1 + 2 + 4 + 8 + 16 + 30, abs=0.1)


async def test_when_the_time_to_live_is_over_a_result_that_s3_does_not_take_is_lost_and_said_so(under):
    under.road.infer_s = 59.5
    running = asyncio.create_task(run(under, job(RequestTTLSeconds="60")))
    await asyncio.sleep(1)
    under.objects.faults = [AWAY] * 100
    ended = await running
    assert (ended.outcome.status, ended.outcome.reason) == (Status.FAILED, "StoreUnavailable: S3 is away")
    assert len(under.objects.faults) == 100 - 3
    assert left(under) == []


async def test_a_result_that_nobody_could_be_told_of_is_a_result(under):
    under.notifier.is_away = True
    ended = await run(under, job())
    assert ended.outcome.status is Status.COMPLETED
    assert left(under) == []


@pytest.mark.parametrize(("written", "status"), [("output", Status.COMPLETED), ("failure", Status.FAILED)])
async def test_what_an_earlier_run_wrote_is_told_and_not_made_again(under, written, status):
    accepted = job()
    under.objects.objects[getattr(accepted, written)] = (b"made", "a/b", accepted.id)
    ended = await run(under, accepted, starts=1)
    assert (ended.outcome.status, ended.outcome.content_type) == (status, "a/b")
    assert (under.road.asked, under.notifier.told, left(under)) == ([], [ended], [])


async def test_what_another_job_wrote_there_is_replaced(under):
    accepted = job()
    under.objects.objects[accepted.output] = (b"old", "a/b", "another")
    await run(under, accepted, starts=1)
    assert under.objects.objects[accepted.output][0] == b"PAYLOAD"


async def test_a_job_that_a_dying_server_left_is_run_although_s3_cannot_be_asked(under):
    under.objects.faults = [AWAY, AWAY]
    ended = await run(under, job(), starts=2)
    assert ended.outcome.status is Status.COMPLETED


async def test_after_three_deaths_a_job_is_given_up(under):
    ended = await run(under, job(), starts=3)
    assert "the server died 3 times" in ended.outcome.reason
    assert under.road.asked == []


@pytest.mark.parametrize("starts", [0, 2])
async def test_a_draining_server_leaves_the_job_as_if_it_had_not_begun(under, starts):
    under.road.faults = [Draining()]
    assert await run(under, job(), starts) is None
    assert left(under) == [("i", starts)]
    assert under.objects.objects == {}


@pytest.mark.parametrize("starts", [0, 2])
async def test_a_job_that_is_stopped_inside_the_model_has_not_begun(under, starts):
    under.road.open.clear()
    running = asyncio.create_task(run(under, job(), starts))
    await asyncio.sleep(1)
    assert left(under) == [("i", starts + 1)]
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left(under) == [("i", starts)]


@pytest.mark.parametrize(("starts", "after"), [(0, 1), (2, 2)])
async def test_a_job_that_is_stopped_while_writing_is_looked_for_by_the_next_server(under, starts, after):
    under.road.infer_s = 1.0
    running = asyncio.create_task(run(under, job(), starts))
    await asyncio.sleep(0.5)
    under.objects.faults = [AWAY] * 100
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left(under) == [("i", after)]


async def test_closing_closes_what_leads_outside(under):
    under.worker.close()
    assert under.objects.is_closed
    assert under.notifier.is_closed


@pytest.mark.parametrize(("age_s", "patience_s"), [(0.0, 30.0), (12.0, 18.0), (31.0, 0.0), (-5.0, 30.0)])
async def test_a_young_job_waits_rather_than_have_others_evicted(tmp_path, age_s, patience_s):
    road, waiting = Road(), job()
    now = waiting.accepted_at + age_s
    journal, threads = Journal(JournalFiles(tmp_path)), InlineThreads()
    processing = Processing(road, FakeObjects(), journal, threads, wall=lambda: now, patience_s=30.0)
    await processing.find(waiting)
    assert road.patience_s == [patience_s]

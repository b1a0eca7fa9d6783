"""Locations, records, the queue and the counting of outcomes."""

import pytest

from server.domain.errors import InvalidHeader, Overloaded
from server.jobs.job_record import dump, load
from server.jobs.locations import S3Folder, S3Location
from server.jobs.outcome import KEPT, Ended, Outcome, Outcomes, Status
from server.jobs.queue import JobQueue
from tests.unit.jobs.job_fakes import job


def test_addresses_are_read_as_they_are():
    assert S3Location.read("s3://bucket/a%20b//c") == S3Location("bucket", "a%20b//c")
    assert str(S3Location("bucket", "a b")) == "s3://bucket/a b"
    assert str(S3Folder.read("s3://bucket/a/b/")) == "s3://bucket/a/b/"
    assert str(S3Folder.read("s3://bucket")) == "s3://bucket/"
    assert S3Folder.read("s3://bucket/").object("", "x") == S3Location("bucket", "x")


@pytest.mark.parametrize("address", ["bucket/x", "s3:/bucket", "gs://bucket", "s3://", "s3://b/x", "s3://-bucket/x"])
def test_what_is_no_bucket_is_no_folder(address):
    with pytest.raises(ValueError, match="not an S3 address"):
        S3Folder.read(address)


@pytest.mark.parametrize("body", [b"", b"x", b"\n\n{}\x00\xff" * 100])
def test_a_record_reads_back(body):
    written = job(body=body)
    assert load(dump(written, body)) == (written, body)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\n",
        dump(job(), b"abc")[:-1],
        dump(job(), b"").replace(b'"format": 1', b'"format": 2'),
        dump(job(), b"").replace(b'"ttl_s"', b'"tt"'),
        dump(job(), b"").replace(b"s3://out", b"out"),
    ],
)
def test_what_is_no_whole_record_is_told(record):
    with pytest.raises(ValueError, match=r".+"):
        load(record)


def test_jobs_are_taken_in_the_order_in_which_they_came():
    queue = JobQueue(10)
    jobs = [job(f"i{n}") for n in range(3)]
    for each in jobs:
        queue.put(each)
    assert [queue.take() for _ in range(4)] == [*jobs, None]
    assert (queue.waiting, queue.running) == (0, 3)
    queue.release(jobs[1])
    assert list(queue.show_running()) == [jobs[0], jobs[2]]


def test_a_queue_has_room_for_so_many_that_wait():
    queue = JobQueue(2)
    queue.reserve(job("being written down"))
    queue.put(job("a"))
    with pytest.raises(Overloaded, match="more than 2 jobs would wait"):
        queue.known(job("b"))
    assert queue.known(job("a")) == job("a"), "a repeated call needs no room"
    queue.release(job("being written down"))
    queue.take()
    assert queue.known(job("b")) is None
    for n in range(5):
        queue.put(job(f"of an earlier server {n}"))
    assert queue.waiting == 5


def test_two_jobs_never_write_to_one_place_at_the_same_time():
    queue = JobQueue(10)
    first = job("a", Filename="x")
    queue.put(first)
    queue.take()
    with pytest.raises(InvalidHeader, match="InferenceId 'a'"):
        queue.known(job("b", Filename="x"))
    queue.release(first)
    assert queue.known(job("b", Filename="x")) is None


def test_outcomes_are_counted_for_ever_and_kept_in_bounds():
    outcomes = Outcomes()
    for n in range(KEPT + 5):
        outcomes.note(Ended(job(str(n)), Outcome(Status.COMPLETED, ""), 1.0))
    outcomes.note(Ended(job("last"), Outcome(Status.EXPIRED, "", "late"), 2.0))
    shown = list(outcomes.newest_first())
    assert len(shown) == KEPT
    assert (shown[0].job.inference_id, shown[0].written) == ("last", "s3://out/failures/last-error.out")
    assert [outcomes.count(status) for status in Status] == [KEPT + 5, 0, 1]

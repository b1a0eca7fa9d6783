"""Jobs that may pass others: nobody is passed for longer than the bound, nobody is lost, and there are fewer loads."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from server.jobs.async_inference import Call, Places, job_of
from server.jobs.locations import S3Folder
from server.jobs.queue import JobQueue

PLACES = Places(S3Folder("out", ""), S3Folder("out", ""))


def job_for(archive, accepted_at, number):
    call = Call("endpoint", archive, {"InputLocation": "s3://in/x"})
    return job_of(call, PLACES, f"{number}", accepted_at)


class Host:
    """A memory with some slots, the least recently used archive leaves, and one worker. `run` returns what happened."""

    def __init__(self, slots, bound_s):
        self.resident = OrderedDict()
        self.slots = slots
        self.loads = 0
        self.queue = JobQueue(10_000, bound_s, self.resident.__contains__)

    def run(self, arrivals, run_s, load_s):
        """`arrivals`: (second, archive). Returns (job, when it was accepted, when it began) in the order of beginning."""
        now, begun, ahead = 0.0, [], [job_for(archive, at, n) for n, (at, archive) in enumerate(arrivals)]
        while ahead or self.queue.waiting:
            if not self.queue.waiting:
                now = max(now, ahead[0].accepted_at)
            while ahead and ahead[0].accepted_at <= now:
                self.queue.put(ahead.pop(0))
            oldest = next(self.queue.show_waiting(1))
            job = self.queue.take(now)
            begun.append((job, oldest, now))
            now += run_s + load_s * self._load(job.archive)
            self.queue.release(job)
        return begun

    def _load(self, archive):
        is_missing = archive not in self.resident
        self.loads += is_missing
        self.resident[archive] = None
        self.resident.move_to_end(archive)
        while len(self.resident) > self.slots:
            self.resident.popitem(last=False)
        return is_missing


arrivals = st.lists(st.tuples(st.floats(0, 5), st.sampled_from("abcde")), min_size=1, max_size=40)


def in_order(gaps):
    at, made = 0.0, []
    for gap, archive in gaps:
        at += gap
        made.append((at, archive))
    return made


@given(arrivals, st.integers(1, 4), st.sampled_from([0.0, 2.0, 10.0, 1e9]), st.sampled_from([0.0, 1.0, 5.0]))
def test_whoever_is_as_old_as_the_bound_is_next(gaps, slots, bound_s, load_s):
    host = Host(slots, bound_s)
    begun = host.run(in_order(gaps), 0.5, load_s)
    for job, oldest, at in begun:
        if at - oldest.accepted_at >= bound_s:
            assert job is oldest
    assert len(begun) == len({job.id for job, *_ in begun}) == len(gaps)


@given(arrivals, st.integers(1, 4))
def test_all_is_done_no_later_than_in_strict_order_when_all_is_there_from_the_beginning(gaps, slots):
    at_once = [(0.0, archive) for _, archive in gaps]
    strict, grouped = Host(slots, 0.0), Host(slots, 1e9)
    assert strict.run(at_once, 1.0, 3.0)[0][2] == grouped.run(at_once, 1.0, 3.0)[0][2] == 0.0
    assert grouped.loads == len({archive for _, archive in gaps}) <= strict.loads


def test_grouping_saves_loads():
    """Three archives by turns, two of which fit: every job loads in strict order, and hardly any does in groups."""
    by_turns = [(float(n), "abc"[n % 3]) for n in range(60)]
    strict, bounded, grouped = Host(2, 0.0), Host(2, 10.0), Host(2, 1e9)
    for host in (strict, bounded, grouped):
        host.run(by_turns, 1.0, 1.0)
    assert (strict.loads, bounded.loads, grouped.loads) == (60, 11, 7)


def test_a_job_whose_archive_another_one_loads_does_not_take_its_turn():
    queue = JobQueue(10, 30.0)
    for number, archive in enumerate("aab"):
        queue.put(job_for(archive, 0.0, number))
    assert [queue.take(1.0).archive for _ in range(3)] == ["a", "b", "a"]

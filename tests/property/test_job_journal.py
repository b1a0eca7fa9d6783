"""Whatever happens and wherever the power goes: an accepted job is not lost, and each job comes to one object.

The power goes at a random move of the journal's files, of S3 or of SNS, before it, after it or (for writes) in the
middle of it; everything of that server then stands still. The next server works on the same folder and the same S3.
"""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from server.jobs.async_inference import Call
from server.jobs.journal import Journal
from server.jobs.journal_files import JournalFiles
from tests.fakes.clock import FakeClock
from tests.unit.jobs.job_fakes import FakeNotifier, FakeObjects, JobsUnderTest, Road, job


class PowerFailure(BaseException):
    """No code of a server runs after this; nothing but the event loop may catch it."""


class Power:
    """Lasts for so many moves; the last one happens before, in the middle of, or after the failure."""

    def __init__(self, moves: int, share: float) -> None:
        self._left = moves
        self._share = share

    @property
    def is_on(self) -> bool:
        return self._left > 0

    def move(self, act: Callable[[], Any], half: Callable[[], Any] = lambda: None) -> Any:
        """Do something, if the power lasts. `share` of it is done when it goes."""
        if self._left <= 0:
            raise PowerFailure
        self._left -= 1
        if self._left > 0:
            return act()
        if self._share == 1:
            act()
        elif self._share > 0:
            half()
        raise PowerFailure


class FailingFiles(JournalFiles):
    """The journal's moves under a power that may go."""

    def __init__(self, folder: Path, power: Power) -> None:
        super().__init__(folder)
        self._power = power

    def write(self, name: str, content: bytes) -> None:
        torn = content[: len(content) // 2]
        self._power.move(lambda: super(FailingFiles, self).write(name, content), lambda: self._tear(name, torn))

    def rename(self, name: str, new_name: str) -> None:
        self._power.move(lambda: super(FailingFiles, self).rename(name, new_name))

    def settle(self) -> None:
        self._power.move(lambda: super(FailingFiles, self).settle())

    def remove(self, name: str) -> None:
        self._power.move(lambda: super(FailingFiles, self).remove(name))

    def _tear(self, name: str, content: bytes) -> None:
        JournalFiles.write(self, name, content)


STEPS = st.lists(st.tuples(st.sampled_from(["accept", "begin", "call off", "end"]), st.integers(0, 3)), max_size=25)
BODIES = st.lists(st.binary(max_size=40), min_size=4, max_size=4)
SHARES = st.sampled_from([0.0, 0.5, 1.0])


class Model:
    """What must be in the journal: for each accepted job, the numbers of starts that it may say."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.jobs = [job(f"i{9 - n}", 1_800_000_000.0 + n, body) for n, body in enumerate(bodies)]
        self.bodies = bodies
        self.starts: dict[int, set[int]] = {}
        self.may_be_gone: set[int] = set()

    def is_possible(self, step: str, number: int) -> bool:
        return (number in self.starts) == (step != "accept")

    def perform(self, journal: Journal, step: str, number: int) -> None:
        """One step on the journal and here; where the power goes, both the state before and after are right."""
        starts = max(self.starts.get(number, {0}))
        after = {"begin": starts + 1, "call off": max(0, starts - 1)}.get(step, starts)
        acts: dict[str, Callable[[], None]] = {
            "accept": lambda: journal.accept(self.jobs[number], self.bodies[number]),
            "end": lambda: journal.end(self.jobs[number]),
        }
        act = acts.get(step, lambda: journal.mark(self.jobs[number], after))
        self.starts.setdefault(number, {0}).add(after)
        if step in acts:
            self.may_be_gone.add(number)
        act()
        self.starts[number] = {after}
        self.may_be_gone.discard(number)
        if step == "end":
            del self.starts[number]


@given(steps=STEPS, bodies=BODIES, power=st.tuples(st.integers(1, 20), SHARES))
def test_a_journal_gives_back_what_was_accepted_and_has_not_ended(steps, bodies, power):
    with tempfile.TemporaryDirectory() as folder:
        journal, model = Journal(FailingFiles(Path(folder), Power(*power))), Model(bodies)
        try:
            for step, number in steps:
                if model.is_possible(step, number):
                    model.perform(journal, step, number)
        except PowerFailure:
            pass
        after = Journal(JournalFiles(Path(folder)))
        found = after.recover()
        numbers = [model.jobs.index(each.job) for each in found]

        assert numbers == sorted(set(numbers)), "in the order of acceptance, each once"
        assert set(model.starts) - model.may_be_gone <= set(numbers) <= set(model.starts)
        for number, each in zip(numbers, found, strict=True):
            assert after.body(each.job) == bodies[number]
            assert each.starts in model.starts[number]
        assert Journal(JournalFiles(Path(folder))).recover() == found
        assert len(list(Path(folder).iterdir())) == len(found)


class FailingObjects(FakeObjects):
    """S3 goes on when a server's power goes; its calls do not."""

    def __init__(self) -> None:
        super().__init__()
        self.power = Power(1, 0.0)
        self.writes: dict[str, set[bytes]] = {}

    async def put(self, location, body, content_type, job_id):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0)

        def act() -> None:
            whole = b"".join(body)
            self.objects[location] = (whole, content_type, job_id)
            self.writes.setdefault(job_id, set()).add(whole)

        self.power.move(act)


class FailingNotifier(FakeNotifier):
    def __init__(self) -> None:
        super().__init__()
        self.power = Power(1, 0.0)

    async def tell(self, ended):  # type: ignore[no-untyped-def]
        self.power.move(lambda: self.told.append(ended))


class NeverTheSame(Road):
    """A model that answers differently each time, so that a second run would be seen."""

    async def __call__(self, name, payload, timeout_s=None):  # type: ignore[no-untyped-def]
        served = await super().__call__(name, payload, timeout_s)
        text = b"".join(served.answer.body) + b"#%d" % len(self.asked)
        return type(served)(type(served.answer)((text,), served.answer.content_type))


@given(
    lives=st.lists(st.tuples(st.integers(1, 40), SHARES), max_size=4),
    calls=st.integers(1, 5),
    concurrency=st.integers(1, 3),
)
def test_every_accepted_job_comes_to_one_object_whatever_happens(lives, calls, concurrency):
    objects, notifier = FailingObjects(), FailingNotifier()

    async def live(folder: Path, power: Power, wanted: list[str], accepted: set[str]) -> None:
        """One server's life: it goes on with what was left, takes the calls that were not accepted, and works."""
        objects.power = notifier.power = power
        files = FailingFiles(folder, power)
        under = JobsUnderTest(
            folder,
            FakeClock(),
            concurrency=concurrency,
            road=NeverTheSame(),
            objects=objects,
            notifier=notifier,
            files=files,
        )
        try:
            await under.jobs.begin()
            for name in wanted:
                if name not in accepted:
                    await under.jobs.submit(Call("e", "a", {"InferenceId": name}, name.encode()))
                    accepted.add(name)
        except PowerFailure:
            pass
        while power.is_on and under.jobs.snapshot()["waiting"] + under.jobs.snapshot()["running"]:
            await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    with tempfile.TemporaryDirectory() as folder:
        accepted: set[str] = set()
        wanted = [f"i{n}" for n in range(calls)]
        for moves, share in lives:
            asyncio.run(live(Path(folder), Power(moves, share), wanted, accepted))
            for name in accepted:
                assert name in " ".join(path.read_text() for path in Path(folder).glob("*.job")) or any(
                    key.key in {f"results/{name}.out", f"failures/{name}-error.out"} for key in objects.objects
                ), f"{name} is lost"
        asyncio.run(live(Path(folder), Power(10_000, 0.0), wanted, accepted))

        names = {key.key.removesuffix(".out").removesuffix("-error").rpartition("/")[2] for key in objects.objects}
        assert names == set(wanted)
        assert len(objects.objects) == calls, "a result or a failure, never both"
        assert {len(bodies) for bodies in objects.writes.values()} == {1}, "what was written is not written differently"
        assert {ended.job.inference_id for ended in notifier.told} == set(wanted)
        assert list(Path(folder).iterdir()) == []

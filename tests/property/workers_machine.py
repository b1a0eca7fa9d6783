"""Workers and their home, with words on their way between them, and whatever may happen meanwhile.

Both sides are real (`home/desk.py`, `front/worker.py` and what they decide with); residency, requests and processes are
played. An archive here is *gone* when residency wanted it back and has everything back that it lent: then its memory is
freed, so nobody may use it, or begin to.
"""

from collections import deque
from dataclasses import dataclass, field
from types import ModuleType

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from server.domain.model import StagedArchive
from server.engines.triton.borrowed import Whereabouts
from server.serving.admission import Admission
from server.workers.front.app import Way
from server.workers.front.tally import Tally
from server.workers.words import read, written
from tests.fakes.clock import FakeClock
from tests.fakes.source import archive, step

NAMES = ("a", "b", "c")
PATIENCE_S = 5.0
VALID_S = 0.5
MODULES = (
    "server.workers.front.held",
    "server.workers.home.lent_out",
    "server.workers.home.desk",
    "server.workers.front.worker",
)


@dataclass
class Content:
    """One content of an archive, as residency has it."""

    archive: StagedArchive
    out: int = 0
    is_called_back: bool = False

    @property
    def is_gone(self) -> bool:
        return self.is_called_back and not self.out


@dataclass
class Loan:
    content: Content
    is_over: bool = False
    uses: int = 0

    @property
    def archive(self) -> StagedArchive:
        return self.content.archive

    @property
    def is_called_back(self) -> bool:
        return self.content.is_called_back

    def used(self, uses, ago_s, mean_run_s):
        assert not self.is_over, "uses of what was given back"
        self.uses += uses

    def rest(self, *, is_quiet):
        assert not self.is_over

    def give_back(self):
        assert not self.is_over, "given back twice"
        self.is_over = True
        self.content.out -= 1


@dataclass
class Residency:
    """Lends what is there, and wants it back."""

    contents: dict[str, Content] = field(default_factory=dict)
    versions: int = 0

    def renew(self, name: str) -> None:
        """New content takes the place of the old one, which has to go."""
        if name in self.contents:
            self.contents[name].is_called_back = True
        self.versions += 1
        content = archive(name, step(f"{name}{self.versions}"), version=str(self.versions))
        self.contents[name] = Content(content)

    def lend(self, name: str) -> Loan | None:
        content = self.contents[name]
        content.out += 1
        return Loan(content)

    def is_current(self, held: StagedArchive) -> bool:
        return self.contents[held.name].archive.version == held.version


class Wire:
    """A channel: what was said and not heard yet."""

    def __init__(self):
        self.words = deque()

    def say(self, word):
        self.words.append(written(word))


class Ways:
    """What a worker knows how to use."""

    def __init__(self):
        self.admission = Admission(100)

    def way(self, archive, at, tally):
        return Way(archive, None, None)

    def forget(self, archive):
        pass


class Process:
    """One worker process."""

    def __init__(self, world: "_WorkersMachine"):
        self.to_home, self.from_home = Wire(), Wire()
        self.running = []
        held_module, worker_module = world.modules[0], world.modules[3]
        self.held = held_module.HeldLeases(idle_s=2.0)
        tally = Tally(world.clock, notes_arrivals=False)
        self.tally_of = tally.of
        self.worker = worker_module.Worker(self.to_home, self.held, tally, Ways(), world.clock)
        self.counter = world.desk.open(self.from_home, pid=1)


class Told:
    def __init__(self):
        self.count = 0

    def used(self, name, uses):
        self.count += uses.count

    def ran(self, rows, waited_s):
        pass


def workers_machine_for(modules: list[ModuleType]) -> type[RuleBasedStateMachine]:
    """The machine, for the modules named in `MODULES` or for copies of them with a bug."""

    class WorkersMachine(_WorkersMachine):
        pass

    WorkersMachine.modules = modules
    return WorkersMachine


WHICH = st.integers(0, 1)


class _WorkersMachine(RuleBasedStateMachine):
    modules: list[ModuleType]

    @initialize()
    def build(self):
        self.clock = FakeClock()
        self.residency = Residency()
        for name in NAMES:
            self.residency.renew(name)
        self.everything = list(self.residency.contents.values())
        lent_out, desk = self.modules[1], self.modules[2]
        self.told = Told()
        self.desk = desk.Desk(
            self.residency,
            lambda address: address[1] or None,
            lambda digest: Whereabouts(1, "model", "cpu", {}),
            self.told,
            self.clock,
            VALID_S,
            lent_out.Patience(stop_s=PATIENCE_S),
        )
        self.processes = [Process(self), Process(self)]

    @rule(which=WHICH, name=st.sampled_from(NAMES))
    def request(self, which, name):
        """It is answered here where a lease is good, else at home, which the worker learns from."""
        process, address = self.processes[which], ("/invocations", name)
        held = process.held.find(address, self.clock.now())
        if held is None:
            process.worker.wants(address)
            return
        content = self.content_of(held)
        assert not content.is_gone, "a lease is used after it was given back"
        process.held.begin(held)
        process.running.append((held, content))

    @precondition(lambda self: any(process.running for process in self.processes))
    @rule(which=WHICH, index=st.integers(0, 5))
    def end(self, which, index):
        process = self.processes[which]
        if process.running:
            held, _ = process.running.pop(index % len(process.running))
            if process.held.end(held, self.clock.now()):
                process.worker.returned(held)
        self.check()

    @rule(which=WHICH, at_home=st.booleans(), words=st.integers(1, 3))
    def hear(self, which, at_home, words):
        for _ in range(words):
            self.hear_one(self.processes[which], at_home=at_home)
        self.check()

    @rule(name=st.sampled_from(NAMES))
    def want_back(self, name):
        """Room is needed, or there is new content."""
        self.residency.renew(name)
        self.everything.append(self.residency.contents[name])
        self.desk.settle()
        self.check()

    @rule(seconds=st.sampled_from([0.1, 0.1, 0.4, 3.0]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)
        self.desk.tick()
        for process in self.processes:
            process.worker.tick()
        self.check()

    @rule(name=st.sampled_from(NAMES), which=WHICH)
    def get_a_lease(self, name, which):
        """All the way from a miss to a good lease: gets deep quickly."""
        self.request(which, name)
        self.time_passes(0.1)
        self.exchange(self.processes[which])
        self.request(which, name)

    @rule(name=st.sampled_from(NAMES), which=WHICH)
    def lose_a_lease(self, name, which):
        """All the way from a good lease to none."""
        self.want_back(name)
        self.exchange(self.processes[which])
        self.request(which, name)

    @rule(which=WHICH, heard=st.integers(0, 2))
    def kill(self, which, heard):
        """It dies; some of what it said last is still heard."""
        process = self.processes[which]
        for _ in range(heard):
            self.hear_one(process, at_home=True)
        process.running.clear()
        self.desk.close(process.counter)
        self.processes[which] = Process(self)
        self.check()

    def content_of(self, held) -> Content:
        return next(each for each in self.everything if each.archive.key == held.work.archive.key)

    @staticmethod
    def _pop(wire):
        return read(wire.words.popleft()) if wire.words else None

    def hear_one(self, process, *, at_home):
        word = self._pop(process.to_home if at_home else process.from_home)
        if word is None:
            return
        if at_home:
            self.desk.hear(process.counter, word)
        else:
            process.worker.hear(word)

    def exchange(self, process):
        while process.to_home.words or process.from_home.words:
            self.hear_one(process, at_home=True)
            self.hear_one(process, at_home=False)

    def check(self):
        for process in self.processes:
            for _, content in process.running:
                assert not content.is_gone, "an archive is evicted while it is in use"
        assert sum(content.out for content in self.everything) == self.desk.lent, "the desk's books are wrong"

    def teardown(self):
        """When all requests have ended and all words were heard, everything is back that was wanted back."""
        if not hasattr(self, "desk"):
            return
        for process in self.processes:
            while process.running:
                held, _ = process.running.pop()
                if process.held.end(held, self.clock.now()):
                    process.worker.returned(held)
            self.exchange(process)
        old = [each for each in self.everything if each.is_called_back]
        assert all(each.is_gone for each in old), "a lease never comes back"
        for process in self.processes:
            process.worker.tick()
            self.exchange(process)
        self.clock.advance(10.0)  # leases that nobody uses go back by themselves
        for process in self.processes:
            process.worker.tick()
            self.exchange(process)
        assert self.desk.lent == 0, "an idle lease is kept"
        assert all(len(process.held) == 0 for process in self.processes)

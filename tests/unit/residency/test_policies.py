"""What each policy keeps that another would not; what is new, and what was just loaded."""

import random

import pytest

from server.domain.model import CPU, Footprint
from server.residency.options import ResidencyOptions
from server.residency.planning import commands as c
from server.residency.planning import events as e
from server.residency.planning.planner import Planner
from server.residency.planning.policies.table import POLICIES
from server.settings import Settings, part_options
from tests.fakes.source import archive, step


def model(name, size=10, *shared, version="1"):
    """An archive with one step of `size` bytes of its own, and others."""
    own = step(f"{name}-model", content=f"{name}@{version}", predicted=Footprint({CPU: size}))
    return archive(name, *shared, own, version=version)


class Place:
    """A planner whose engine answers at once: loads take `load_s[step]` seconds of its clock, else 1."""

    def __init__(self, budget, policy, **options):
        options = {"churn_guard_s": 0.0, "decisions_kept": 10_000, **options}
        self.planner = Planner({CPU: budget}, lambda each: each.predicted, ResidencyOptions(policy=policy, **options))
        self.load_s = {}
        self.at = 10_000.0
        self.loads = 0
        self._ids = 0

    def request(self, wanted, *, is_use=True, uses=1):
        for _ in range(uses):
            self.at += 1.0
            self._ids += 1
            record = self.planner.lease(wanted.name, wanted.version, self.at) if is_use else None
            if record is None:
                record = self._wait(wanted, is_use=is_use)
            self.planner.release(record, self.at)

    def _wait(self, wanted, *, is_use):
        todo, granted = list(self.planner.handle(e.Wanted(self.at, self._ids, wanted, is_use))), None
        while todo:
            command = todo.pop(0)
            if isinstance(command, c.Load):
                self.loads += 1
                self.at += self.load_s.get(command.step.name, 1.0)
                todo += self.planner.handle(e.StepLoaded(self.at, command.step.digest, command.step.predicted))
            elif isinstance(command, c.Unload):
                todo += self.planner.handle(e.StepUnloaded(self.at, command.digest))
            elif isinstance(command, c.Grant):
                granted = command.record
        assert granted is not None
        return granted

    @property
    def residents(self):
        return set(self.planner.house.inventory.leasable)

    @property
    def victims(self):
        return [decision.name for decision in self.planner.house.decisions]

    @property
    def last(self):
        return list(self.planner.house.decisions)[-1]


# Where they differ


@pytest.mark.parametrize(("policy", "survives"), [("lru", False), ("s3-fifo", True)])
def test_a_scan_flushes_lru_and_not_s3_fifo(policy, survives):
    place = Place(100, policy)
    hot = [model(f"hot{number}") for number in range(5)]
    for _ in range(4):
        for each in hot:
            place.request(each)
    for number in range(30):
        place.request(model(f"scanned{number}"))
    assert {each.name for each in hot} <= place.residents or not survives
    assert survives or not {each.name for each in hot} & place.residents


@pytest.mark.parametrize(("policy", "victim"), [("lru", "dear"), ("gdsf", "cheap")])
def test_gdsf_keeps_what_is_dear_to_load(policy, victim):
    place = Place(20, policy)
    place.load_s = {"dear-model": 30.0}
    for name in ("dear", "cheap", "new"):
        place.request(model(name))
    assert place.victims == [victim]


@pytest.mark.parametrize(("policy", "victims"), [("lru", ["small"]), ("gdsf", ["large"])])
def test_gdsf_keeps_what_is_small(policy, victims):
    place = Place(100, policy)
    place.request(model("small", 20))
    place.request(model("large", 70))
    place.request(model("new", 20))
    assert place.victims == victims


def test_gdsf_lets_fade_what_was_used_often_and_long_ago():
    place = Place(30, "gdsf")
    place.request(model("once-hot"), uses=10)
    for number in range(40):
        place.request(model(f"new{number}"), uses=2)
    assert "once-hot" not in place.residents
    assert place.victims.index("once-hot") > 5


def test_gdsf_counts_only_what_would_be_freed():
    base = step("base", predicted=Footprint({CPU: 60}))
    place = Place(130, "gdsf", max_parallel_loads=1)
    place.load_s = {"base": 60.0, "alone-model": 3.0}
    place.request(model("head0", 10, base))
    place.request(model("head1", 10, base))
    place.request(model("alone", 40))
    house = place.planner.house
    worth = {name: house.value_of(record) / 2**30 for name, record in house.inventory.leasable.items()}
    assert worth == pytest.approx({"head0": 1 / 10, "head1": 1 / 10, "alone": 3 / 40})
    place.request(model("new", 20))
    assert place.victims == ["alone"]
    place.planner.handle(e.Deleted(place.at, "head1"))
    assert house.value_of(house.inventory.leasable["head0"]) / 2**30 == pytest.approx(61 / 70)


def test_gdsf_judges_as_a_whole_what_would_free_nothing():
    base = step("base", predicted=Footprint({CPU: 50}))
    place = Place(100, "gdsf")
    place.request(archive("twin0", base))
    place.request(archive("twin1", base))
    values = [place.planner.house.value_of(each) for each in place.planner.house.inventory.leasable.values()]
    assert values == pytest.approx([2**30 / 50] * 2)


def test_s3_fifo_remembers_who_left_and_takes_him_into_main():
    place = Place(30, "s3-fifo")
    for name in ("a", "b", "c", "d"):
        place.request(model(name))
    assert place.victims == ["a"]
    place.request(model("a"))
    house = place.planner.house
    assert house.value_of(house.inventory.leasable["a"]) == 10.0
    assert "main" in house.policy.explain(house.inventory.leasable["a"], place.at)
    for name in ("e", "f", "g"):
        place.request(model(name))
    assert "a" in place.residents


def test_new_content_takes_the_place_of_the_old_in_s3_fifos_main_queue():
    place = Place(40, "s3-fifo")
    for name in ("a", "b", "c", "d", "e", "a"):
        place.request(model(name))
    place.request(model("a", version="2"))
    house = place.planner.house
    assert house.inventory.leasable["a"].archive.version == "2"
    assert house.value_of(house.inventory.leasable["a"]) == 10.0


class TextbookS3Fifo:
    """Algorithm 1 of the paper for objects of one size, written straight down."""

    def __init__(self, slots):
        self.slots = slots
        self.small, self.main, self.ghost, self.hits, self.evicted = [], [], [], {}, []

    def read(self, name):
        if name in self.small or name in self.main:
            self.hits[name] = min(3, self.hits[name] + 1)
            return
        count = len(self.evicted)
        while len(self.small) + len(self.main) == self.slots and len(self.evicted) == count:
            if self.small and (not self.main or len(self.small) >= 0.1 * self.slots):
                self.evict_small()
            else:
                self.evict_main()
        self.hits[name] = 0
        (self.main if name in self.ghost else self.small).append(name)
        self.ghost = [each for each in self.ghost if each != name]

    def evict_small(self):
        oldest = self.small.pop(0)
        if self.hits[oldest] > 1:
            self.hits[oldest] = 0
            self.main.append(oldest)
        else:
            self.ghost = [*self.ghost, oldest][-self.slots :]
            self.evicted.append(oldest)

    def evict_main(self):
        oldest = self.main.pop(0)
        if self.hits[oldest]:
            self.hits[oldest] -= 1
            self.main.append(oldest)
        else:
            self.evicted.append(oldest)


@pytest.mark.parametrize("seed", range(4))
def test_s3_fifo_is_the_papers(seed):
    names = [f"m{number}" for number in range(40)]
    chosen = random.Random(seed)
    trace = chosen.choices(names, weights=[1 / (rank + 1) for rank in range(40)], k=600)
    place = Place(100, "s3-fifo")
    textbook = TextbookS3Fifo(10)
    for name in trace:
        place.request(model(name))
        textbook.read(name)
    assert place.victims == textbook.evicted
    assert place.loads < 600


def test_gdsf_is_the_papers():
    chosen = random.Random(7)
    facts = {f"m{number}": (chosen.randint(1, 9), chosen.choice([0.5, 2.0, 9.0])) for number in range(30)}
    place = Place(40, "gdsf")
    place.load_s = {f"{name}-model": cost for name, (_, cost) in facts.items()}
    age, held, victims = 0.0, {}, []
    for name in chosen.choices(list(facts), weights=[1 / (rank + 1) for rank in range(30)], k=400):
        place.request(model(name, facts[name][0]))
        size = facts[name][0]
        if name not in held:
            leaving = []
            while sum(facts[each][0] for each in [*held, *leaving] if each not in leaving) + size > 40:
                oldest = min(held, key=lambda each: held[each][0] + held[each][1] * facts[each][1] / facts[each][0])
                leaving.append((oldest, held.pop(oldest)))
            for spared, worth in reversed(leaving):  # ours spares victims that a later one makes superfluous
                if sum(facts[each][0] for each in held) + facts[spared][0] + size <= 40:
                    held[spared] = worth
                else:
                    victims.append(spared)
                    age = max(age, worth[0] + worth[1] * facts[spared][1] / facts[spared][0])
        held[name] = (age, held.get(name, (0, 0))[1] + 1)
    assert sorted(held) == sorted(place.residents)
    assert sorted(victims) == sorted(place.victims)
    assert len(victims) > 50


# What is new


@pytest.mark.parametrize("policy", POLICIES)
def test_what_was_loaded_and_never_used_makes_room_for_what_was_used(policy):
    place = Place(30, policy)
    place.request(model("used"))
    place.request(model("registered"), is_use=False)
    place.request(model("used-too"))
    place.request(model("new"))
    assert place.victims == ["registered"]
    assert "never used" in place.last.judgement


def test_the_first_use_ends_that():
    place = Place(30, "lru")
    place.request(model("registered"), is_use=False)
    place.request(model("a"))
    place.request(model("b"))
    place.request(model("registered"))
    place.request(model("new"))
    assert place.victims == ["a"]


def test_an_archive_that_was_asked_for_before_is_not_new():
    place = Place(20, "lru")
    for name in ("known", "a", "b"):
        place.request(model(name))
    place.request(model("known"), is_use=False)
    place.request(model("c"))
    assert place.victims == ["known", "a", "b"]


def test_who_gave_up_has_asked_too():
    place = Place(30, "lru")
    place.request(model("a"))
    (load,) = place.planner.handle(e.Wanted(place.at, 77, model("late")))
    place.planner.handle(e.GaveUp(place.at, 77))
    place.planner.handle(e.StepLoaded(place.at + 1.0, load.step.digest, load.step.predicted))
    assert place.planner.house.inventory.leasable["late"].uses == 1


# What was just loaded


@pytest.mark.parametrize("policy", POLICIES)
def test_what_was_just_loaded_stays_while_there_is_another_choice(policy):
    place = Place(30, policy, churn_guard_s=3.5)
    place.load_s = {"cheap-model": 0.1}
    place.request(model("a"), uses=6)
    place.request(model("b"), uses=6)
    place.request(model("cheap"), is_use=False)
    place.request(model("new"))
    assert "cheap" in place.residents
    assert [each.name for each in place.last.considered if each.is_guarded] == ["cheap"]
    place.at += 10.0
    place.request(model("next"))
    assert place.last.name == "cheap"


@pytest.mark.parametrize("policy", POLICIES)
def test_where_all_are_new_one_has_to_go_nevertheless(policy):
    place = Place(20, policy, churn_guard_s=1000.0)
    for name in ("a", "b", "c"):
        place.request(model(name))
    assert place.victims == ["a"]


# What is told


@pytest.mark.parametrize("policy", POLICIES)
async def test_everybody_can_see_what_each_archive_is_worth_and_why(yard, policy):
    it = yard(20, *(archive(name) for name in "abc"), policy=policy)
    for name in "abc":
        await it.serve(name)
    told = it.residency.snapshot()
    assert told["policy"] == policy
    assert [each["archive"] for each in told["residents"]] == ["b", "c"]
    assert all(isinstance(each["value"], float) and "last used" in each["judgement"] for each in told["residents"])
    assert [each["is_guarded"] for each in told["residents"]] == [True, True]
    assert "last used" in told["evictions"][0]["judgement"]
    assert sorted(told["eviction_order"]) == ["b", "c"]


async def test_a_preload_is_no_use(yard):
    it = yard(20, *(archive(name) for name in "abc"))
    await it.serve("a")
    await it.residency.preload("b")
    await it.serve("c")
    assert it.residents() == ["a", "c"]


def test_every_policy_can_be_set():
    for policy in POLICIES:
        options = part_options.residency(Settings(policy=policy, churn_guard_s=0))
        assert (options.policy, options.churn_guard_s) == (policy, 0.0)
    assert (Settings().policy, Settings().churn_guard_s) == (
        ResidencyOptions().policy,
        ResidencyOptions().churn_guard_s,
    )

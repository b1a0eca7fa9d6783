"""Every departure on record: who, for whom, instead of whom, what it threw away, and whether it was regretted."""

import pytest

from tests.fakes.source import archive, step

BASE = step("base", 10)


def on_base(name):
    return archive(name, BASE, step(f"head-{name}", 10), step(f"whole-{name}", 0, calls=[BASE]))


def told(it, *arguments):
    return it.residency.decisions(*arguments)


async def serve(it, letters):
    for name in letters:
        await it.serve(name)


@pytest.fixture
def slow(yard):
    """A yard whose loads take 2 s, and which has room for two of four archives."""

    def make(*archives, budget=20):
        it = yard(budget, *(archives or (archive(name) for name in "abcd")), churn_guard_s=0.0, max_parallel_loads=1)
        load = it.engine.load

        async def load_slowly(step):
            it.clock.advance(2.0)
            return await load(step)

        it.engine.load = load_slowly
        return it

    return make


async def test_a_departure_says_what_it_threw_away_and_has_no_regret_yet(slow):
    it = slow()
    await serve(it, "abc")
    (decision,) = told(it)["decisions"]
    assert (decision["archive"], decision["for"], decision["reason"]) == ("a", "c", "room")
    assert decision["load_s"] == 2.0
    assert decision["regret"] is None
    assert [(each["archive"], each["was_chosen"]) for each in decision["considered"]] == [("a", True), ("b", False)]


async def test_a_return_is_the_regret_with_its_cost_and_the_better_choice(slow):
    it = slow()
    await serve(it, "abcca")
    newest, oldest = told(it)["decisions"]
    assert (newest["archive"], oldest["archive"]) == ("b", "a")
    assert oldest["regret"]["load_s"] == 2.0
    assert oldest["regret"]["after_s"] == pytest.approx(6.0)
    assert oldest["regret"]["at"] == pytest.approx(oldest["at"] + 6.0)
    assert oldest["regret"]["unused_instead"] == []  # b left for a: at its return it was not there any more
    assert told(it)["summary"] == {
        "departures": 2,
        "load_s_thrown_away": 4.0,
        "came_back": 1,
        "load_s_of_returns": 2.0,
        "with_a_better_choice": 0,
    }


async def test_who_stayed_and_was_not_used_meanwhile_would_have_been_the_better_victim(slow):
    it = slow(budget=30)
    await serve(it, "abcd")  # a leaves for d; b and c stay, and only c is used
    await it.serve("c")
    await it.residency.unload("d")  # room for a without another victim
    await it.serve("a")
    (regretted,) = told(it, "a")["decisions"]
    assert regretted["regret"]["unused_instead"] == ["b"]
    assert told(it)["summary"]["with_a_better_choice"] == 1


async def test_other_content_under_the_same_name_is_no_return(slow):
    it = slow()
    await serve(it, "abc")
    it.source.put(archive("a", version="2"))
    await it.serve("a")
    assert told(it, "a")["decisions"][0]["regret"] is None


async def test_shared_steps_are_not_thrown_away(slow):
    it = slow(on_base("x"), on_base("y"), archive("z"), budget=40)
    await serve(it, "xyz")
    await it.residency.unload("x")
    (unloaded,) = told(it, "x")["decisions"]
    assert unloaded["load_s"] == 4.0  # its head and its whole, not the base


async def test_of_one_archive_newest_first_and_no_more_than_asked_for(slow):
    it = slow()
    await serve(it, "abcabc")
    assert [each["archive"] for each in told(it)["decisions"]] == ["a", "c", "b", "a"]
    assert [each["archive"] for each in told(it, "a")["decisions"]] == ["a", "a"]
    shortened = told(it, None, 1)
    assert [each["archive"] for each in shortened["decisions"]] == ["a"]
    assert shortened["summary"]["departures"] == 4
    assert told(it, "nowhere")["decisions"] == []


async def test_the_record_is_bounded_and_what_was_forgotten_has_no_regret(yard):
    it = yard(10, *(archive(name) for name in "abc"), decisions_kept=2, churn_guard_s=0.0, max_parallel_loads=1)
    await serve(it, "abca")
    assert [each["archive"] for each in told(it)["decisions"]] == ["c", "b"]
    await it.serve("b")
    assert [each["regret"] is None for each in told(it)["decisions"]] == [True, True]
    await it.serve("c")
    assert told(it)["summary"]["departures"] == 2

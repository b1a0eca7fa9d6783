"""Room on disk: who lets go of its files for an archive that is being staged, and who does not."""

import pytest

from server.domain.disk_need import DiskNeed, DiskOutlook
from tests.fakes.source import archive, step

SHARED = step("shared")


def need(*archives, missing_bytes, name="new", busy=()):
    """Each step has one file of 10 bytes, and steps of equal name share it."""
    steps = {each.digest: each for held in archives for each in held.steps}
    files = {digest: {(1, hash(each.name)): 10} for digest, each in steps.items()}
    return DiskNeed(name, [name], missing_bytes, files, busy)


@pytest.fixture
async def three(yard):
    """`a`, `b` and `c` are resident, and idle for longer than the guard; `a` was used least lately."""
    held = [archive(name) for name in "abc"]
    house = yard(100, *held, churn_guard_s=5.0)
    for each in held:
        await house.serve(each.name)
    house.clock.advance(10.0)
    return house, held


def reasons(house):
    return {each["archive"]: (each["reason"], each["for"]) for each in house.residency.decisions()["decisions"]}


async def test_the_least_valuable_leave_and_no_more_than_that_takes(three):
    house, held = three
    assert house.residency.disk.make_room(need(*held, missing_bytes=11)) is DiskOutlook.COMING
    assert reasons(house) == {"a": ("room on disk", "new"), "b": ("room on disk", "new")}
    assert house.residents() == ["c"]


async def test_what_is_leaving_already_counts_so_that_asking_again_costs_nobody_more(three):
    house, held = three
    house.engine.unloads_open.clear()
    for _ in range(3):
        assert house.residency.disk.make_room(need(*held, missing_bytes=10)) is DiskOutlook.COMING
    assert house.residents() == ["b", "c"]


async def test_nobody_leaves_where_all_together_do_not_free_enough(three):
    house, held = three
    assert house.residency.disk.make_room(need(*held, missing_bytes=31)) is DiskOutlook.NEVER
    assert house.residents() == ["a", "b", "c"]


async def test_who_is_leased_stays_and_may_free_room_later(three):
    house, held = three
    with await house.residency.lease("a", 1.0):
        assert house.residency.disk.make_room(need(*held, missing_bytes=30)) is DiskOutlook.MAYBE
        assert house.residency.disk.make_room(need(*held, missing_bytes=10)) is DiskOutlook.COMING
    assert house.residents() == ["a", "c"]


async def test_who_is_pinned_stays_for_ever(three):
    house, held = three
    house.residency.pin("a")
    assert house.residency.disk.make_room(need(*held, missing_bytes=30)) is DiskOutlook.NEVER
    assert house.residency.disk.make_room(need(*held, missing_bytes=20)) is DiskOutlook.COMING
    assert house.residents() == ["a"]


async def test_new_arrivals_and_the_old_content_of_what_is_wanted_stay(three):
    house, held = three
    assert house.residency.disk.make_room(need(held[0], missing_bytes=10, name="a")) is DiskOutlook.MAYBE
    late = archive("late")
    house.source.put(late)
    await house.serve("late")
    assert house.residency.disk.make_room(need(late, missing_bytes=10)) is DiskOutlook.MAYBE
    assert house.residents() == ["a", "b", "c", "late"]


async def test_steps_that_others_hold_or_load_are_not_freed(yard):
    held = [archive(name, SHARED, step(f"{name}-head", calls=(SHARED,))) for name in "ab"]
    house = yard(100, *held, churn_guard_s=0.0)
    for each in held:
        await house.serve(each.name)
    house.clock.advance(1.0)
    busy = [held[0].steps[-1].digest]
    assert house.residency.disk.make_room(need(*held, missing_bytes=30, busy=busy)) is DiskOutlook.MAYBE
    assert house.residents() == ["a", "b"]
    assert house.residency.disk.make_room(need(*held, missing_bytes=20)) is DiskOutlook.COMING
    assert house.residents() == []


async def test_an_archive_is_wanted_as_long_as_somebody_waits_for_its_staging(yard):
    house = yard(100, archive("x"))
    house.source.open.clear()
    with pytest.raises(Exception, match="not ready"):
        await house.residency.lease("x", 0.01)
    assert not house.residency.disk.is_wanted(["x"])
    assert house.residency.disk.is_wanted(["x", "staged by others"])
    house.source.open.set()

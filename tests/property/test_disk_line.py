"""The line before the disk cache: within the quota always, nobody waits for ever, nobody fails who need not.

Planted bugs show that the property would notice.
"""

import asyncio
import importlib.util
import sys
from pathlib import Path

import looptime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.store.disk import line as disk_line
from tests.property import hunting
from tests.property.disk_line_world import Archive, World

BASE = Archive("base", 6, 6)
BASES = [BASE, Archive("base1", 9, 9)]


@st.composite
def worlds(draw):
    """Archives, callers and a quota in which each archive fits beside what is pinned, and not much more than one."""
    sizes = st.integers(1, 20)
    archives = []
    for number in range(draw(st.integers(1, 10))):
        starts_at = draw(st.sampled_from([0.0, 0.0, 0.1, 1.0]))
        if draw(st.integers(0, 2)) == 0:
            each = Archive(f"head{number}", 1, 1, draw(st.sampled_from(BASES)), starts_at)
        else:
            tar = draw(sizes)
            each = Archive(f"plain{number}", tar, tar + draw(st.integers(0, 9)), None, starts_at, draw(st.booleans()))
            each.is_pinned = draw(st.integers(0, 6)) == 0
        each.leaves_at = draw(st.sampled_from([None, None, None, 0.15, 2.0]))
        archives.append(each)
    pinned = sum(each.unpacked for each in archives if each.is_pinned)
    heads = sum(2 for each in archives if each.base)
    most = max([each.tar + each.unpacked for each in archives] + [18 * (heads > 0)])
    giants = draw(st.booleans())
    quota = pinned + heads + most + draw(st.integers(0, 10))
    if giants:
        archives.append(Archive("giant", 1, quota))
    return quota, draw(st.integers(1, 4)), archives


def play(module, quota, transfers, archives):
    """Everything that the property promises."""
    loop = looptime.new_event_loop(start=0)
    try:
        world = World(module, quota, transfers, archives)
        loop.run_until_complete(world.run())
    finally:
        for left in asyncio.all_tasks(loop):
            left.cancel()
            loop.run_until_complete(asyncio.gather(left, return_exceptions=True))
        loop.close()
    for each in archives:
        if each.name == "giant":
            assert world.outcomes[each.name] == "full", "what never fits is not refused"
        elif each.leaves_at is None:
            assert world.outcomes[each.name] == "there", f"{each.name} failed though it would fit"
        else:
            assert world.outcomes[each.name] in {"there", "left"}
    assert world.most_at_work <= transfers + len(archives), "more fetches at once than can be"
    return world


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_everybody_who_waits_gets_room_within_the_quota(world):
    assert play(disk_line, *world).cache.reserved == 0


HUNT = settings(hunting.HUNT, max_examples=40)

BUGS = {
    "nobody starts over": ("is_helped = self._send_back_the_youngest(visit) or", "is_helped = False or"),
    "others' fetches are not waited for": (
        "passing_bytes = protected.passing_bytes + self",
        "passing_bytes = 0 * self",
    ),
    "residency is not asked": ("if self.tenant is not None:\n", "if self.tenant is None:\n"),
    "what may come is not waited for": ("outlook is DiskOutlook.NEVER and", ""),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_in_the_line_is_caught(bug):
    planted = plant(*BUGS[bug])

    @HUNT
    @given(worlds())
    def hunt(world):
        play(planted, *world)

    with pytest.raises((AssertionError, TimeoutError, ExceptionGroup)):
        hunt()


def test_a_copy_without_a_bug_passes_where_the_bugs_fail():
    planted = plant("RECHECK_S: Final = 0.25", "RECHECK_S: Final = 0.26")
    assert planted.RECHECK_S == 0.26

    @settings(HUNT, max_examples=10)
    @given(worlds())
    def hunt(world):
        play(planted, *world)

    hunt()


def test_who_gives_up_gives_the_place_up_and_those_behind_are_served():
    archives = [
        Archive("resident", 5, 5),
        Archive("large", 8, 8, starts_at=0.5, leaves_at=0.7),
        Archive("small", 2, 2, starts_at=0.6),
    ]
    world = play(disk_line, 20, 2, archives)
    assert world.outcomes == {"resident": "there", "large": "left", "small": "there"}
    assert world.tenant.let_go == []


def test_a_base_comes_before_archives_that_hold_every_berth():
    heads = [Archive(f"head{number}", 1, 1, BASE) for number in range(3)]
    plain = [Archive(f"plain{number}", 7, 7) for number in range(3)]
    world = play(disk_line, 26, 1, [*plain[:1], *heads, *plain[1:]])
    assert set(world.outcomes.values()) == {"there"}


def plant(old, new):
    """A copy of the module with one line changed."""
    source = Path(disk_line.__file__).read_text()
    assert source.count(old) == 1, old
    spec = importlib.util.spec_from_loader("planted_disk_line", loader=None)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    exec(compile(source.replace(old, new), disk_line.__file__, "exec"), module.__dict__)
    return module

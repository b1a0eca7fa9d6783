"""The prefetcher: learns from counts, acts only when idle, keeps the score, and gives up what does not work."""

import pytest

from server.domain.errors import StoreUnavailable
from server.residency.prefetch.prefetcher import Prefetcher, Raised, Use
from tests.fakes.clock import FakeClock

HOUR = 3600.0


class FakeTiers:
    """Residency as the prefetcher sees it."""

    def __init__(self, clock):
        self.clock = clock
        self.resident = {}
        self.is_quiet = True
        self.raised = []
        self.answer = Raised("host", 50)
        self.error = None

    def uses(self):
        return dict(self.resident)

    async def raise_tier(self, name):
        self.raised.append(name)
        if self.error:
            raise self.error
        return self.answer


class World:
    def __init__(self):
        self.clock = FakeClock(now=0.0)
        self.tiers = FakeTiers(self.clock)
        self.prefetcher = Prefetcher(self.tiers, self.clock)
        self.admissions = 0

    async def asked(self, *names, came_from="host"):
        """Somebody uses the archives; they are gone again by the next look."""
        self.admissions += 1
        self.tiers.resident = {name: Use(self.admissions, 1, self.clock.now(), came_from) for name in names}
        await self.prefetcher.look(is_idle=False)
        self.tiers.resident = {}

    async def hours(self, *names, count=8):
        """Every hour once; in the end it is nearly time again."""
        for _ in range(count):
            await self.asked(*names)
            self.clock.advance(HOUR)
        self.clock.advance(-0.02 * HOUR)

    async def look(self, *, is_idle=True):
        await self.prefetcher.look(is_idle=is_idle)
        return self.tiers.raised

    def of(self, reason):
        return self.prefetcher.figures()["reasons"][reason]


@pytest.fixture
def world():
    return World()


async def test_a_steady_archive_is_brought_up_once_and_was_right(world):
    await world.hours("a")
    assert await world.look() == ["a"]
    assert await world.look() == ["a"], "one guess moves it one tier"
    await world.asked("a")
    figures = world.of("regular")
    assert (figures["used"], figures["wasted"], figures["precision"], figures["moved_bytes"]) == (1, 0, 1.0, 50)
    assert world.prefetcher.figures()["raised_to"] == {"host": 1}


@pytest.mark.parametrize(
    ("raised", "came_from", "was_there"),
    [
        (Raised("disk", 1), "store", False),
        (Raised("disk", 1), "disk", True),
        (Raised("host", 1), "disk", False),
        (Raised("host", 1), "host", True),
        (Raised("device", 1, admission=9), "host", True),
        (Raised("device", 1, admission=8), "host", False),
    ],
)
async def test_a_guess_is_right_only_if_what_was_moved_was_still_there(world, raised, came_from, was_there):
    await world.hours("a")
    world.tiers.answer = raised
    await world.look()
    await world.asked("a", came_from=came_from)
    assert world.of("regular")["used"] == was_there
    assert world.of("regular")["wasted"] == (not was_there)


async def test_nothing_is_moved_while_the_server_is_busy(world):
    await world.hours("a")
    assert await world.look(is_idle=False) == []
    world.tiers.is_quiet = False
    assert await world.look() == []
    world.tiers.is_quiet = True
    assert await world.look() == ["a"]


async def test_what_is_on_a_device_is_left_alone(world):
    await world.hours("a")
    world.tiers.resident = {"a": Use(99, 0, world.clock.now())}
    assert await world.look() == []


async def test_a_use_is_counted_once_and_a_load_without_use_is_none(world):
    world.tiers.resident = {"a": Use(1, 3, 0.0), "b": Use(2, 0, 0.0)}
    for _ in range(3):
        await world.look()
    assert world.prefetcher.figures()["known"] == 1


async def test_what_cannot_be_moved_is_tried_once_per_guess_and_costs_nobody(world):
    await world.hours("a")
    world.tiers.error = StoreUnavailable("away")
    assert await world.look() == ["a"]
    world.tiers.error, world.tiers.answer = None, None
    assert await world.look() == ["a"]
    assert world.prefetcher.figures()["reasons"] == {"regular": world.of("regular")}
    assert world.of("regular")["prefetched"] == 0


async def test_it_switches_itself_off_when_it_is_mostly_wrong_and_tries_again(world):
    many = [f"archive-{index}" for index in range(12)]
    await world.hours(*many)
    for _ in many:
        await world.look()
    assert sorted(set(world.tiers.raised)) == sorted(many)
    world.clock.advance(HOUR)  # none of them came
    await world.look()
    figures = world.of("regular")
    assert (figures["wasted"], figures["precision"], figures["switched_off"]) == (12, 0.0, 1)
    assert (figures["is_on"], figures["wasted_bytes"]) == (False, 600)

    world.tiers.raised.clear()
    world.clock.advance(0.02 * HOUR)
    await world.asked(*many)
    world.clock.advance(HOUR)
    assert await world.look() != [], "a pause later it is tried again"

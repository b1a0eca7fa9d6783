"""A disk cache hardly larger than memory: nobody fails for room that comes back, and idle archives leave for it."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from server.domain.errors import DiskFull, NotReady
from tests.integration.residency.linear_archives import expected, inputs_of, write_packed
from tests.integration.whole_house import WholeHouse
from tests.unit.store.scripted_origin import ScriptedOrigin

ARCHIVES, CALLERS, ROUNDS = 12, 8, 2
WEIGHT_BYTES = 1_000_000
CHARGE_BYTES = 1_100_000
"""What one of them takes in memory, or a little less."""


class House(WholeHouse):
    """A house whose archives are copied, as from a bucket; and how full its disk was."""

    def __init__(self, root: Path, budget_bytes: int, quota_bytes: int, archives: int = 4) -> None:
        self.origin = ScriptedOrigin()
        super().__init__(root, budget_bytes, quota_bytes, self.origin)
        for seed in range(archives):
            self.origin.put(f"a{seed}", write_packed(self.folder / f"a{seed}.tar.gz", seed, WEIGHT_BYTES))
        self.most_bytes = 0

    async def ask(self, seed: int, timeout_s: float = 20.0) -> None:
        inputs = inputs_of(seed)
        answer = await self.answer(f"a{seed}", inputs, timeout_s)
        np.testing.assert_allclose(answer, expected(inputs, seed), rtol=1e-4)
        usage = self.cache.usage()
        self.most_bytes = max(self.most_bytes, usage["used_bytes"] + usage["reserved_bytes"])


@pytest.fixture
async def open_house(tmp_path):
    houses = []

    async def build(**sizes):
        houses.append(House(tmp_path, **sizes))
        await houses[-1].start()
        return houses[-1]

    yield build
    for house in houses:
        await house.stop()


async def test_eight_callers_on_twelve_archives_all_get_room_on_a_disk_of_half_again_the_memory(open_house):
    budget = 3 * CHARGE_BYTES
    house = await open_house(budget_bytes=budget, quota_bytes=budget * 3 // 2, archives=ARCHIVES)

    async def caller(number: int) -> None:
        for turn in range(ROUNDS):
            await house.ask((5 * number + 7 * turn) % ARCHIVES)

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    assert 0 < house.most_bytes <= budget * 3 // 2
    assert house.cache.usage()["reserved_bytes"] == 0


async def test_an_idle_resident_archive_leaves_for_room_on_disk_and_the_decision_says_so(open_house):
    house = await open_house(budget_bytes=100 * CHARGE_BYTES, quota_bytes=3 * CHARGE_BYTES)
    for seed in range(4):
        await house.ask(seed)
    left = [each for each in house.residency.decisions()["decisions"] if each["reason"] == "room on disk"]
    assert [(each["archive"], each["for"]) for each in left] == [("a1", "a3"), ("a0", "a2")]
    assert all(each["missing_bytes"]["disk"] > 0 for each in left)


async def test_what_is_pinned_stays_and_the_rest_is_refused(open_house):
    house = await open_house(budget_bytes=100 * CHARGE_BYTES, quota_bytes=3 * CHARGE_BYTES)
    for seed in range(2):
        house.residency.pin(f"a{seed}")
        await house.ask(seed)
    with pytest.raises(DiskFull):
        await house.ask(2)


async def test_who_cannot_wait_for_leases_is_told_to_come_back_and_holds_nothing(open_house):
    house = await open_house(budget_bytes=100 * CHARGE_BYTES, quota_bytes=3 * CHARGE_BYTES)
    with await house.residency.lease("a0", 5.0), await house.residency.lease("a1", 5.0):
        with pytest.raises(NotReady) as caught:
            await house.ask(2, timeout_s=0.3)
        assert caught.value.retry_after_s > 0
    await house.ask(2)
    assert house.cache.usage()["reserved_bytes"] == 0


async def test_two_that_hold_their_tar_files_do_not_wait_for_each_other(open_house):
    house = await open_house(budget_bytes=100 * CHARGE_BYTES, quota_bytes=2 * CHARGE_BYTES + CHARGE_BYTES // 2)
    house.origin.hold()
    asking = asyncio.gather(house.ask(0), house.ask(1))
    async with asyncio.timeout(10.0):
        while len(house.origin.fetches) < 2:
            await asyncio.sleep(0)
    house.origin.let_go()
    await asking
    assert len(house.origin.fetches) == 3

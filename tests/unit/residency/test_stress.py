"""Sixteen callers, forty archives, room for ten, and everything checked all along."""

import asyncio
import random

import pytest

from server.domain.errors import RoundhouseError
from tests.fakes.source import archive, step

TOKENIZER = step("tokenizer", 5)
BUDGET = 10 * 10 + 5


def archives():
    for number in range(40):
        encoder = step(f"encoder{number}", 9)
        yield archive(f"a{number}", TOKENIZER, encoder, step(f"whole{number}", 1, calls=[TOKENIZER, encoder]))


@pytest.mark.parametrize("has_faults", [False, True])
async def test_random_requests_are_all_answered_within_the_budget(yard, has_faults):
    it = yard(BUDGET, *archives(), max_parallel_loads=3, failure_ttl_s=0.0)
    await it.engine.start(it.residency.lost)
    chance = random.Random(7)
    outcomes = []

    def check(lease):
        assert it.charged <= BUDGET
        assert it.engine.used_bytes <= it.charged
        if it.lives == lives_of[lease]:
            assert all(each.digest in it.engine.loaded for each in lease.archive.steps)

    it.lives, lives_of = 0, {}

    async def caller():
        for _ in range(60):
            name = f"a{min(int(chance.expovariate(0.08)), 39)}"
            try:
                lease = it.residency.try_lease(name) or await it.residency.lease(name, 30.0)
            except RoundhouseError as error:
                outcomes.append(type(error).__name__)
                continue
            lives_of[lease] = it.lives
            with lease:
                check(lease)
                for _ in range(chance.randrange(6)):
                    await asyncio.sleep(0)
                check(lease)
            del lives_of[lease]
            outcomes.append(lease.warmth)
            it.clock.advance(0.01)
            if has_faults and chance.random() < 0.01:
                it.lives += 1
                it.engine.lose()

    await asyncio.gather(*(caller() for _ in range(16)))
    assert len(outcomes) == 16 * 60
    assert set(outcomes) <= {"resident", "disk", "shared"}
    assert it.engine.most_loading <= 3
    assert {each["leases"] for each in it.residency.snapshot()["residents"]} == {0}

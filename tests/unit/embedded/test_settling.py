"""What a load leaves for later: a proven step is warmed up again only while nobody asks for it."""

import asyncio

import pytest
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.errors import InferenceFailed
from server.domain.model import CPU
from server.engines.embedded.loading.loader import LoadPlan
from server.engines.embedded.loading.settling import Settling
from server.engines.load_turns import LoadTurns
from tests.fakes.source import step

pytestmark = pytest.mark.looptime


class Inline:
    """Workers without threads."""

    async def call(self, work):
        return work()


class Resident:
    folders = ()

    def __init__(self, *, has_run=False, breaks=False):
        self.has_run, self.breaks, self.requests, self.settled = has_run, breaks, 0, 0

    def settle(self):
        self.settled += 1

    def run_stream(self, request):
        self.requests += 1
        if self.breaks:
            raise InferenceFailed("broken")
        return iter(())


class House:
    def __init__(self, resident):
        self.step, self.resident, self.turns = step("a"), resident, LoadTurns()
        self.residents = {self.step.digest: resident}
        self.settling = Settling(self.residents, self.turns, Inline())

    def loaded(self, known_bytes=1, device=CPU):
        config = ModelConfig(name="a")
        config.model_warmup.add(name="w")
        self.settling.follow(LoadPlan(self.step, config, "onnxruntime", device, known_bytes))


async def test_a_proven_step_is_warmed_up_a_moment_later():
    house = House(Resident())
    house.loaded()
    assert house.resident.requests == 0
    await asyncio.sleep(1)
    assert house.resident.requests == 1


async def test_a_step_that_was_asked_for_meanwhile_is_warm():
    house = House(Resident())
    house.loaded()
    house.resident.has_run = True
    await asyncio.sleep(1)
    assert house.resident.requests == 0
    assert house.resident.settled == 1  # what its load left undone is done all the same


@pytest.mark.parametrize("plan", [{"known_bytes": None}, {"device": "gpu:0"}])
async def test_what_the_load_itself_warmed_up_is_left_in_peace(plan):
    house = House(Resident())
    house.loaded(**plan)
    await asyncio.sleep(1)
    assert house.resident.requests == 0


async def test_nothing_runs_under_a_measurement_or_after_an_unload():
    house = House(Resident())
    async with house.turns.turn(alone=True):
        house.loaded()
        await asyncio.sleep(1)
        house.residents.clear()
    await asyncio.sleep(1)
    assert house.resident.requests == 0


async def test_a_warm_up_that_fails_now_harms_nobody():
    house = House(Resident(breaks=True))
    house.loaded()
    await asyncio.sleep(1)
    assert house.resident.requests == 1


async def test_closing_leaves_undone_what_has_not_begun():
    house = House(Resident())
    house.loaded()
    await house.settling.close()
    await asyncio.sleep(1)
    assert house.resident.requests == 0

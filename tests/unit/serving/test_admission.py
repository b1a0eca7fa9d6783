"""How many may be inside, and the end of admitting."""

import asyncio

import pytest

from server.domain.errors import Draining, Overloaded
from server.serving.admission import Admission

pytestmark = pytest.mark.looptime


async def test_one_more_than_the_limit_is_refused():
    admission = Admission(1)
    with admission.slot():
        with pytest.raises(Overloaded), admission.slot():
            pass
        assert admission.running == 1
    with admission.slot():
        assert admission.running == 1


async def test_a_slot_is_given_back_when_the_request_fails():
    admission = Admission(1)
    with pytest.raises(ValueError), admission.slot():
        raise ValueError
    assert admission.running == 0


async def test_draining_refuses_what_is_new_and_waits_for_what_runs():
    admission = Admission(5)

    async def work():
        with admission.slot():
            await asyncio.sleep(3)

    running = asyncio.create_task(work())
    await asyncio.sleep(1)
    drained = asyncio.create_task(admission.drain(10))
    await asyncio.sleep(1)
    with pytest.raises(Draining), admission.slot():
        pass
    assert await drained
    assert running.done()


async def test_draining_ends_when_the_time_is_up():
    admission = Admission(5)
    with admission.slot():
        assert not await admission.drain(10)
    assert await admission.drain(10)

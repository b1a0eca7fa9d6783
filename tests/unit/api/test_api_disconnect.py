"""Work stops when nobody waits for it any more."""

import asyncio

import pytest

from server.api.body import ClientGone
from server.api.disconnect import WATCH_AFTER_S, ClientWatch

pytestmark = pytest.mark.looptime


async def stays():
    await asyncio.Event().wait()


async def leaves():
    return {"type": "http.disconnect"}


async def test_a_disconnect_cancels_the_work():
    began = asyncio.get_running_loop().time()
    with pytest.raises(ClientGone), ClientWatch(leaves):
        await asyncio.sleep(60)
    assert asyncio.get_running_loop().time() - began < 1


async def test_work_that_finishes_is_not_disturbed():
    with ClientWatch(stays):
        await asyncio.sleep(60)
    await asyncio.sleep(60)
    assert len(asyncio.all_tasks()) == 1


async def test_short_work_costs_no_watcher():
    with ClientWatch(leaves):
        await asyncio.sleep(WATCH_AFTER_S / 2)
        assert len(asyncio.all_tasks()) == 1


async def test_cancelling_from_elsewhere_stays_a_cancellation():
    async def work():
        with ClientWatch(stays):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()

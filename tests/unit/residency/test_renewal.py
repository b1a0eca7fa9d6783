"""An engine that leaks is told of, and restarted, and nobody fails by it."""

import asyncio
import logging

import pytest

from server.domain.errors import StoreUnavailable, UnsupportedOperation
from server.domain.model import CPU
from server.residency.memory.watch import LEAST_LEAK_BYTES, SETTLE_S
from server.residency.renewing import PAUSE_S
from tests.fakes.source import archive, step

pytestmark = pytest.mark.looptime

MB = 1 << 20
SIZE = 10 * MB
BUDGET = 4 * SIZE
LEAK = 2 * MB


def flock(count):
    return [archive(f"a{number}", step(f"m{number}", SIZE)) for number in range(count)]


async def churn(it, turns, names):
    """Each turn loads something that is not there; time for a look at the memory after each."""
    for turn in range(turns):
        await it.serve(names[turn % len(names)])
        await asyncio.sleep(2 * SETTLE_S)


def shown(it):
    return it.residency.snapshot()["devices"][CPU]


async def test_the_ledger_is_compared_after_loads_and_unloads(yard):
    it = yard(BUDGET, *flock(3))
    await it.serve("a0")
    await it.serve("a1")
    await asyncio.sleep(2 * SETTLE_S)
    assert (shown(it)["expected_bytes"], shown(it)["observed_bytes"], shown(it)["drift_bytes"]) == (
        2 * SIZE,
        2 * SIZE,
        0,
    )

    it.engine.leaked_bytes = 3 * MB
    await it.residency.unload("a0")
    await asyncio.sleep(2 * SETTLE_S)

    assert (shown(it)["expected_bytes"], shown(it)["observed_bytes"], shown(it)["drift_bytes"]) == (
        SIZE,
        SIZE + 3 * MB,
        3 * MB,
    )
    assert len(shown(it)["observations"]) == 2
    assert it.journal.last("observed") == [CPU, SIZE, SIZE + 3 * MB, False]


async def test_a_flock_of_loads_is_looked_at_once(yard):
    it = yard(BUDGET, *flock(4))
    for name in ("a0", "a1", "a2", "a3"):
        await it.serve(name)
    await asyncio.sleep(2 * SETTLE_S)
    assert len(it.journal.of("observed")) == 1


async def test_a_look_that_meets_a_load_is_taken_again(yard):
    it = yard(BUDGET, *flock(2))
    await it.serve("a0")
    it.engine.load_s = 1.0
    coming = asyncio.create_task(it.serve("a1"))
    await asyncio.sleep(0.9)
    assert it.journal.of("observed") == []
    await coming
    await asyncio.sleep(2 * SETTLE_S)
    assert it.journal.of("observed") == [[CPU, 2 * SIZE, 2 * SIZE, False]]


async def test_a_leak_is_told_once(yard, caplog):
    it = yard(BUDGET, *flock(5), leak_alarm=1.0, renews_engine=False)
    it.engine.leak_bytes = LEAK
    with caplog.at_level(logging.WARNING):
        await churn(it, 80, ["a0", "a1", "a2", "a3", "a4"])

    assert shown(it)["is_leaking"]
    assert shown(it)["leaked_bytes"] > BUDGET
    assert it.journal.last("observed")[3] is True
    assert [record.message for record in caplog.records if "leaks memory" in record.message] != []
    assert len([record for record in caplog.records if "leaks memory" in record.message]) == 1
    assert it.engine.renewals == 0


async def test_an_engine_that_does_not_leak_is_left_alone(yard):
    it = yard(BUDGET, *flock(5))
    it.engine.noise_bytes = iter([MB * (each * 7919 % 5) for each in range(1000)])
    await churn(it, 150, ["a0", "a1", "a2", "a3", "a4"])

    assert not shown(it)["is_leaking"]
    assert it.engine.renewals == 0


async def test_requests_run_through_renewals_without_a_failure(yard):
    """Eight clients on an engine that leaks until it is renewed; then somebody asks for another renewal."""
    it = yard(BUDGET, *flock(6), leak_alarm=0.5)
    it.engine.leak_bytes = 4 * MB
    it.engine.load_s, it.engine.renewal_s = 0.05, 2.0
    served = []

    async def ask_on(client):
        while it.engine.renewals < 2:
            with await it.residency.lease(f"a{(client * 5 + len(served)) % 6}", 30.0) as lease:
                renewals = it.engine.renewals
                await asyncio.sleep(0.05 * (1 + client % 3))
                assert lease.archive.entry in it.engine.loaded, "the engine was restarted under a lease"
                assert it.engine.renewals == renewals
                assert not lease.is_void
            served.append(it.engine.renewals)
            it.clock.advance(0.01)
            await asyncio.sleep(0.2)
            if served.count(1) == 20:
                it.residency.renew_engine()

    async with asyncio.timeout(120.0):
        await asyncio.gather(*map(ask_on, range(8)))

    assert served.count(0) > 20, "it was renewed before it leaked"
    assert it.residency.snapshot()["renewal"]["renewals"] == 2
    assert it.engine.leaked_bytes < 2 * LEAST_LEAK_BYTES


async def test_residents_come_back_in_order(yard):
    """First what is waited for, then what is pinned, then by the policy; and they keep what they were worth."""
    it = yard(BUDGET, *flock(4), max_parallel_loads=1)
    for name in ("a3", "a2", "a1", "a0"):
        await it.serve(name)
    it.residency.pin("a3")
    order = it.residency.snapshot()["eviction_order"]
    it.engine.history.clear()
    it.engine.renewal_s = 1.0

    told = it.residency.renew_engine()
    await asyncio.sleep(0.5)
    assert it.residency.try_lease("a0") is None
    assert it.residency.snapshot()["renewal"]["phase"] == "restarting"
    it.clock.advance(1.0)
    waiting = asyncio.create_task(it.residency.lease("a2", 5.0))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    (await waiting).release()
    await asyncio.sleep(0.5)

    assert told["comes_back"] == ["a0", "a1", "a2", "a3"]
    assert [name for what, name in it.engine.history if what == "load"] == ["m2", "m3", "m0", "m1"]
    assert it.residents() == ["a0", "a1", "a2", "a3"]
    assert it.residency.snapshot()["eviction_order"] == ["a1", "a0", "a2"]
    assert order == ["a2", "a1", "a0"]
    assert it.engine.renewals == 1


async def test_a_lease_that_does_not_come_back_puts_the_renewal_off(yard):
    it = yard(BUDGET, *flock(2), renewal_drain_s=5.0)
    held = await it.residency.lease("a0", 5.0)
    it.residency.renew_engine()
    waiting = asyncio.create_task(it.residency.lease("a1", 30.0))
    await asyncio.sleep(4.9)
    assert not waiting.done()
    (await waiting).release()

    assert it.engine.renewals == 0
    assert not held.is_void
    assert it.residency.snapshot()["renewal"] == {"phase": None, "renewals": 0, "last_took_s": 0.0}
    held.release()
    assert await it.serve("a0") == "resident"


async def test_a_leak_is_stubborn(yard):
    """A renewal for a leak that was put off is tried again."""
    it = yard(BUDGET, *flock(5), renewal_drain_s=5.0)
    it.engine.leak_bytes = 4 * MB
    held = await it.residency.lease("a0", 5.0)
    await churn(it, 60, ["a1", "a2", "a3", "a4"])
    assert it.engine.renewals == 0
    held.release()
    await asyncio.sleep(PAUSE_S + 6.0)
    assert it.engine.renewals == 1
    assert not shown(it).get("is_leaking")


async def test_loads_under_way_end_before_the_restart(yard):
    it = yard(BUDGET, *flock(2))
    it.engine.load_s = 2.0
    first = asyncio.create_task(it.residency.lease("a0", 30.0))
    await asyncio.sleep(1.0)
    it.residency.renew_engine()
    await asyncio.sleep(0.5)
    assert it.engine.renewals == 0
    (await first).release()
    assert it.engine.renewals == 1
    assert [what for what, _ in it.engine.history] == ["load", "load"], "what had come so far came again"


async def test_old_content_serves_on_while_the_new_is_broken_and_the_engine_is_renewed(yard):
    it = yard(BUDGET, *flock(1))
    await it.serve("a0")
    it.source.forget("a0")
    it.source.faults["a0"] = StoreUnavailable("away")
    it.engine.load_s = it.engine.renewal_s = 1.0
    it.residency.renew_engine()
    await asyncio.sleep(0)
    while_it_drains = asyncio.create_task(it.residency.lease("a0", 10.0))
    await asyncio.sleep(1.5)
    while_it_loads = asyncio.create_task(it.residency.lease("a0", 10.0))
    for each in (await while_it_drains, await while_it_loads):
        assert each.archive.name == "a0"
        each.release()
    assert it.engine.renewals == 1


async def test_an_engine_that_does_not_restart_is_used_as_it_is(yard, caplog):
    it = yard(BUDGET, *flock(1))
    await it.serve("a0")

    async def broken():
        it.engine.loaded.clear()
        raise OSError("no more processes")

    it.engine.renew = broken
    it.residency.renew_engine()
    await asyncio.sleep(1.0)
    assert await it.serve("a0") == "resident"
    assert it.engine.history == [("load", "m0"), ("load", "m0")]
    assert "could not be restarted" in caplog.text


async def test_an_engine_without_a_process_of_its_own_is_not_renewed(yard):
    it = yard(BUDGET, *flock(5))
    it.engine.can_renew = False
    with pytest.raises(UnsupportedOperation, match="restart the server"):
        it.residency.renew_engine()
    it.engine.leak_bytes = 4 * MB
    await churn(it, 60, ["a0", "a1", "a2", "a3", "a4"])
    assert shown(it)["is_leaking"]
    assert it.engine.renewals == 0


async def test_close_during_a_renewal(yard):
    it = yard(BUDGET, *flock(1))
    await it.serve("a0")
    it.engine.renewal_s = 60.0
    it.residency.renew_engine()
    await asyncio.sleep(0.1)
    await it.residency.close()
    assert it.residency.snapshot()["residents"] == []

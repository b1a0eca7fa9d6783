"""Leases that workers keep: they do not keep an archive from leaving, and nothing leaves before they are back."""

import asyncio

from tests.fakes.source import archive


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_lent_and_not_used_leaves_when_it_is_back(yard):
    it = yard(20, archive("a"), archive("b"), archive("c"))
    for name in "ab":
        await it.serve(name)
    calls = []
    loan = it.residency.lending.lend("a")
    it.residency.lending.on_change(lambda: calls.append(loan.is_called_back))
    waiting = asyncio.create_task(it.serve("c"))
    await settled()
    assert calls[-1]
    assert ("unload", "a-model") not in it.engine.history
    loan.give_back()
    loan.give_back()
    assert await waiting == "disk"
    assert it.residents() == ["b", "c"]


async def test_what_a_worker_uses_counts_as_used(yard):
    it = yard(20, archive("a"), archive("b"), archive("c"))
    for name in "ab":
        await it.serve(name)
    loan = it.residency.lending.lend("a")
    it.clock.advance(1.0)
    loan.used(5, 0.0, 0.01)
    loan.rest(is_quiet=True)
    await it.serve("c")
    assert it.residents() == ["a", "c"]
    assert not loan.is_called_back
    assert it.residency.snapshot()["residents"][0]["uses"] == 6
    assert len(it.journal.of("hit")) == 5
    loan.give_back()


async def test_a_busy_loan_leaves_after_what_is_idle_and_before_nobody(yard):
    it = yard(20, archive("a"), archive("b"), archive("c"), archive("d"))
    for name in "ab":
        await it.serve(name)
    loan = it.residency.lending.lend("a")
    loan.rest(is_quiet=False)
    await it.serve("c")
    assert it.residents() == ["a", "c"]  # b was used later, and is idle
    held = it.residency.try_lease("c")
    waiting = asyncio.create_task(it.serve("d"))
    await settled()
    assert loan.is_called_back  # both are in use: the one that was used longest ago drains
    loan.give_back()
    await waiting
    held.release()


async def test_only_what_is_resident_and_verified_is_lent(yard):
    it = yard(20, archive("a"))
    assert it.residency.lending.lend("a") is None
    await it.serve("a")
    loan = it.residency.lending.lend("a")
    assert it.residency.lending.is_current(loan.archive)
    it.source.put(archive("a", version="2"))
    assert not it.residency.lending.is_current(loan.archive)
    await_new = asyncio.create_task(it.serve("a"))
    await settled()
    loan.give_back()
    await await_new
    assert loan.is_called_back


async def test_an_engine_that_dies_takes_loans_with_it(yard):
    it = yard(20, archive("a"))
    await it.serve("a")
    loan = it.residency.lending.lend("a")
    it.residency.lost(list(it.engine.loaded))
    it.engine.loaded.clear()
    assert loan.is_called_back
    loan.used(1, 0.0, 0.1)
    loan.give_back()
    assert await it.serve("a") == "disk"

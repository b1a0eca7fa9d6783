import asyncio

import pytest

from server.domain.errors import (
    ArchiveNotFound,
    DeviceFull,
    EngineLost,
    InvalidArchive,
    LoadFailed,
    NotReady,
    StoreUnavailable,
)
from server.domain.model import CPU, Footprint
from tests.fakes.source import archive, step


async def test_a_failed_load_is_remembered_with_its_reason_and_tried_again_later(yard):
    it = yard(100, archive("a", step("a")), failure_ttl_s=30.0)
    it.engine.faults[step("a").digest] = [LoadFailed("no such operator")]
    for _ in range(3):
        with pytest.raises(LoadFailed, match="no such operator"):
            await it.serve("a")
    assert it.engine.history == [("load", "a")]
    assert it.residency.snapshot()["failures"][0]["reason"] == "no such operator"
    it.clock.advance(31.0)
    assert await it.serve("a") == "disk"


async def test_new_content_is_tried_at_once_after_a_failure(yard):
    it = yard(100, archive("a", step("broken")))
    it.engine.faults[step("broken").digest] = [LoadFailed("no")]
    with pytest.raises(LoadFailed):
        await it.serve("a")
    it.source.put(archive("a", step("fixed"), version="2"))
    assert await it.serve("a") == "disk"


async def test_every_waiter_gets_an_error_of_its_own(yard):
    it = yard(100, archive("a", step("a")))
    it.engine.faults[step("a").digest] = [DeviceFull("a", CPU), DeviceFull("a", CPU)]
    outcomes = await asyncio.gather(*(it.serve("a") for _ in range(5)), return_exceptions=True)
    assert {type(each) for each in outcomes} == {DeviceFull}
    assert len({id(each) for each in outcomes}) == 5


async def test_an_unexpected_exception_of_the_engine_is_a_failed_load(yard):
    it = yard(100, archive("a", step("a")))
    it.engine.faults[step("a").digest] = [ZeroDivisionError("oops")]
    with pytest.raises(LoadFailed, match="ZeroDivisionError: oops"):
        await it.serve("a")
    assert it.charged == 0


async def test_out_of_memory_evicts_more_and_tries_again(yard):
    it = yard(100, *(archive(name) for name in "abc"))
    it.engine.capacity_bytes = 20  # the device has less than the budget says
    await it.serve("a")
    await it.serve("b")
    assert await it.serve("c") == "disk"
    assert it.residents() == ["b", "c"]
    assert it.residency.snapshot()["evictions"][0]["reason"] == "out of memory"
    assert it.charged == 20


async def test_out_of_memory_twice_is_told_and_nothing_is_lost(yard):
    it = yard(100, archive("a"), archive("b", step("b")))
    await it.serve("a")
    it.engine.faults[step("b").digest] = [DeviceFull("b", CPU), DeviceFull("b", CPU)]
    with pytest.raises(DeviceFull):
        await it.serve("b")
    assert it.charged == 0
    assert it.engine.history == [("load", "a-model"), ("load", "b"), ("unload", "a-model"), ("load", "b")]
    assert await it.serve("a") == "disk"


async def test_a_load_under_which_the_engine_died_is_tried_again(yard):
    it = yard(100, archive("a", step("a")))
    it.engine.faults[step("a").digest] = [EngineLost("died"), EngineLost("died")]
    assert await it.serve("a") == "disk"


async def test_an_engine_that_always_dies_is_told_and_not_remembered(yard):
    it = yard(100, archive("a", step("a")))
    it.engine.faults[step("a").digest] = [EngineLost("died")] * 3
    with pytest.raises(EngineLost):
        await it.serve("a")
    assert await it.serve("a") == "disk"


async def test_a_dead_engine_takes_its_charge_with_it_and_voids_leases(yard):
    it = yard(100, archive("a"), archive("b"))
    await it.engine.start(it.residency.lost)
    lease = await it.residency.lease("a", 5.0)
    await it.serve("b")
    it.engine.lose()
    assert it.charged == 0
    assert it.residents() == []
    assert await it.serve("a") == "disk"
    lease.release()
    assert it.residency.snapshot()["residents"][0]["leases"] == 0


async def test_an_archive_that_was_deleted_is_not_found_and_leaves(yard):
    it = yard(100, archive("a"))
    await it.serve("a")
    it.source.delete("a")
    with pytest.raises(ArchiveNotFound):
        await it.serve("a")
    assert it.residents() == []
    assert it.residency.snapshot()["evictions"][0]["reason"] == "deleted from the store"


@pytest.mark.parametrize("error", [StoreUnavailable("timed out"), InvalidArchive("truncated")])
async def test_what_is_resident_serves_on_while_the_store_or_the_upload_is_broken(yard, error):
    it = yard(100, archive("a"), recheck_s=5.0)
    await it.serve("a")
    it.source.forget("a")
    it.source.faults["a"] = error
    for _ in range(3):
        assert await it.serve("a") == "resident"
    assert it.source.staged == ["a", "a"]
    assert it.residency.snapshot()["stale"][0]["error"] == type(error).__name__
    del it.source.faults["a"]
    it.clock.advance(6.0)
    assert await it.serve("a") == "resident"
    assert it.residency.snapshot()["stale"] == []


async def test_what_cannot_be_staged_is_told_where_nothing_is_resident(yard):
    it = yard(100)
    it.source.faults["a"] = InvalidArchive("not a repository")
    with pytest.raises(InvalidArchive):
        await it.serve("a")
    assert it.journal.of("failed") == [["a", "InvalidArchive"]]


@pytest.mark.looptime
async def test_staging_counts_against_the_caller_s_time_and_goes_on(yard):
    it = yard(100, archive("a"))
    it.source.open.clear()
    with pytest.raises(NotReady):
        await it.residency.lease("a", 2.0)
    it.source.open.set()
    assert await it.serve("a") == "disk"
    assert it.source.staged == ["a"]


async def test_a_measurement_above_the_prediction_evicts_until_it_fits(yard):
    it = yard(30, archive("a"), archive("b"), archive("c", step("c")))
    await it.serve("a")
    await it.serve("b")
    it.engine.measured[step("c").digest] = Footprint({CPU: 15})
    await it.serve("c")
    assert it.residents() == ["b", "c"]
    assert it.residency.snapshot()["evictions"][0]["reason"] == "over budget"


async def test_over_budget_with_nothing_to_evict_is_shown(yard):
    it = yard(30, archive("a", step("a")))
    it.engine.measured[step("a").digest] = Footprint({CPU: 35})
    with await it.residency.lease("a", 5.0):
        assert it.residency.snapshot()["devices"][CPU]["is_over_budget"]


async def test_an_engine_that_cancels_its_own_load_does_not_leave_the_step_loading_for_ever(yard):
    """As a channel that is closed does to the calls on it: the load counts as lost, and is tried again."""
    it = yard(100, archive("a", step("a")), retry_pause_s=0.001)
    it.engine.faults[step("a").digest] = [asyncio.CancelledError()]
    assert await it.serve("a") == "disk"
    assert it.engine.history == [("load", "a"), ("load", "a")]


async def test_the_words_of_a_model_that_ran_out_of_memory_reach_the_caller(yard):
    it = yard(100, archive("a"), archive("b"))
    said = "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB"
    it.engine.faults[archive("a").entry] = [DeviceFull("a-model", CPU, said=said)] * 2
    with pytest.raises(DeviceFull) as refused:
        await it.serve("a")
    assert refused.value.said == said
    assert str(refused.value).endswith(f": {said}")

"""When archives are verified again, what may be served stale, which steps are shielded, what is known to be broken."""

import pytest

from server.domain.errors import InvalidArchive, UnsupportedModel
from server.domain.model import StepDigest
from server.store.broken import BrokenVersions
from server.store.disk.protection import HANDED_OUT_S, Protection
from server.store.freshness import Freshness, StoreOptions
from tests.fakes.clock import FakeClock

A, B = StepDigest("a"), StepDigest("b")


def test_a_verified_archive_is_fresh_for_a_while():
    clock = FakeClock()
    freshness = Freshness(clock, StoreOptions(refresh_s=2.0, refresh_ahead_s=0.5))
    assert not freshness.is_fresh("k")
    freshness.verified("k")
    assert (freshness.is_fresh("k"), freshness.is_due_soon("k")) == (True, False)
    clock.advance(1.5)
    assert (freshness.is_fresh("k"), freshness.is_due_soon("k")) == (True, True)
    clock.advance(0.5)
    assert not freshness.is_fresh("k")


def test_stale_archives_may_be_served_up_to_the_limit_and_serving_does_not_extend_it():
    clock = FakeClock()
    freshness = Freshness(clock, StoreOptions(stale_limit_s=100.0))
    freshness.verified("k")
    clock.advance(99.0)
    assert freshness.may_be_stale("k")
    freshness.unverified("k")
    assert freshness.is_fresh("k")
    clock.advance(1.0)
    assert not freshness.may_be_stale("k")


def test_after_a_restart_the_start_counts_as_verified():
    clock = FakeClock()
    freshness = Freshness(clock, StoreOptions(stale_limit_s=100.0))
    assert freshness.may_be_stale("unseen")
    clock.advance(100.0)
    assert not freshness.may_be_stale("unseen")


def test_an_origin_that_failed_rests():
    clock = FakeClock()
    freshness = Freshness(clock, StoreOptions(retry_s=10.0))
    assert not freshness.is_resting()
    freshness.origin_failed()
    assert freshness.is_resting()
    clock.advance(10.0)
    assert not freshness.is_resting()


def test_handed_out_steps_are_shielded_for_a_while():
    clock = FakeClock()
    protection = Protection(clock)
    protection.hand_out([A])
    assert protection.steps() == {A}
    clock.advance(HANDED_OUT_S)
    assert protection.steps() == set()


def test_residency_takes_handed_out_steps_over_and_may_drop_them_at_once():
    protection = Protection(FakeClock())
    protection.hand_out([A, B])
    protection.retain([A])
    assert protection.steps() == {A, B}
    protection.retain([])
    assert protection.steps() == {B}


def test_broken_content_is_told_apart_by_version_and_kind():
    broken = BrokenVersions()
    broken.remember("k", "1", InvalidArchive("no config.pbtxt"))
    with pytest.raises(InvalidArchive, match=r"no config\.pbtxt"):
        broken.check("k", "1")
    with pytest.raises(InvalidArchive):
        broken.check("k")
    broken.check("k", "2")
    broken.remember("k", "2", UnsupportedModel("backend x"))
    broken.check("k", "1")
    with pytest.raises(UnsupportedModel):
        broken.check("k", "2")
    broken.forget("k")
    assert "k" not in broken

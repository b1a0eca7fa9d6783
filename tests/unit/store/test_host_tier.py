"""The host tier: what is kept, what is let go of, and that nobody fails for it."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from server.store.host.pages import LockedPages, WarmPages, may_lock
from server.store.host.tier import HostTier
from tests.fakes.pages import FakePages
from tests.fakes.source import step


class Den:
    """A tier with folders of files to keep."""

    def __init__(self, root, pages, budget=100):
        self.root, self.pages, self.budget = root, pages, budget
        self.tier = HostTier(lambda: self.budget, pages)

    def step(self, name, **sizes):
        """A step with these files; a file named like another step's (`b=a_model`) is a link to it."""
        made = replace(step(name), directory=self.root / name)
        made.directory.mkdir(exist_ok=True)
        for file, size in (sizes or {"model": 10}).items():
            path = made.directory / file
            if isinstance(size, int):
                path.write_bytes(bytes(size))
            else:
                path.hardlink_to(self.root / size)
        return made

    def keep(self, *steps):
        for each in steps:
            self.tier.keep(each)
        self.tier.finish()

    def used(self):
        return self.tier.usage()["used_bytes"]


@pytest.fixture
def den(tmp_path):
    den = Den(tmp_path, FakePages())
    yield den
    den.pages.open.set()
    den.tier.close()
    assert den.pages.present == {}
    assert den.used() == 0


def test_what_left_the_devices_is_brought_and_hit_until_it_is_on_one_again(den):
    left = den.step("a", model=10, config=2)
    assert not den.tier.wanted(left.digest)
    den.keep(left)
    assert den.pages.names() == ["a/config", "a/model"]
    assert den.tier.wanted(left.digest)
    den.tier.came_back(left.digest)
    den.tier.finish()
    assert not den.tier.is_kept(left.digest)
    assert (den.pages.present, den.pages.cooled) == ({}, []), "an engine reads them: they stay in the page cache"
    figures = den.tier.usage()
    assert (figures["hits"], figures["misses"], figures["kept"], figures["used_bytes"]) == (1, 1, 1, 0)


def test_who_was_wanted_longest_ago_leaves_first_and_its_pages_are_given_back(den):
    a, b, c = (den.step(name, model=40) for name in "abc")
    den.keep(a, b)
    assert den.tier.wanted(a.digest)
    den.keep(c)
    assert [den.tier.is_kept(each.digest) for each in (a, b, c)] == [True, False, True]
    assert [path.parent.name for path in den.pages.cooled] == ["b"]
    assert den.tier.usage()["evictions"] == 1


def test_a_file_of_two_steps_counts_once_and_stays_for_the_other(den):
    den.budget = 70
    a = den.step("a", model=60, own=1)
    b = den.step("b", model="a/model", own=2)
    den.keep(a, b)
    assert den.used() == 63
    den.tier.forget(a.digest)
    den.tier.finish()
    assert den.used() == 62
    assert sorted(den.pages.names()) == ["b/model", "b/own"]


def test_what_is_larger_than_the_budget_is_not_kept_and_displaces_nobody(den):
    a, giant = den.step("a"), den.step("giant", model=101)
    den.keep(a, giant)
    assert (den.tier.is_kept(a.digest), den.tier.is_kept(giant.digest), den.used()) == (True, False, 10)


def test_a_smaller_budget_holds_from_the_next_step_on(den):
    a, b, c = (den.step(name, model=30) for name in "abc")
    den.keep(a, b)
    den.budget = 60
    den.keep(c)
    assert [den.tier.is_kept(each.digest) for each in (a, b, c)] == [False, True, True]


def test_what_leaves_the_disk_while_it_is_read_is_not_kept(den):
    den.pages.held.add("model")
    a = den.step("a", config=1, model=10, zebra=5)
    den.tier.keep(a)
    assert den.pages.begun.wait(10)
    den.tier.forget(a.digest)
    den.pages.open.set()
    den.tier.finish()
    assert not den.tier.is_kept(a.digest)
    assert den.pages.present == {}


def test_what_is_wanted_again_while_it_is_let_go_is_kept_anew(den):
    den.pages.held.add("model")
    a = den.step("a")
    den.tier.keep(a)
    assert den.pages.begun.wait(10)
    den.tier.came_back(a.digest)
    den.tier.keep(a)
    den.pages.open.set()
    den.tier.finish()
    assert den.tier.is_kept(a.digest)
    assert (den.pages.names(), den.used()) == (["a/model"], 10)


def test_files_that_vanished_or_cannot_be_read_are_no_error(den):
    gone, broken, good = den.step("gone"), den.step("broken", bad=5, all_right=5), den.step("good")
    (gone.directory / "model").unlink()
    gone.directory.rmdir()
    den.pages.broken.add("bad")
    den.keep(gone, broken, good)
    assert [den.tier.is_kept(each.digest) for each in (gone, broken, good)] == [False, False, True]
    assert (den.pages.names(), den.used()) == (["good/model"], 10)


def test_a_closed_tier_keeps_nothing_and_does_not_complain(den):
    den.tier.close()
    den.tier.keep(den.step("a"))
    den.tier.close()
    assert den.used() == 0


def locked_kib(pid):
    """What a process has locked; 0 where there is none."""
    if pid is None:
        return 0
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmLck:"))


@pytest.fixture
def locked(tmp_path):
    size = 1024 * 1024
    if not may_lock(2 * size):
        pytest.skip("this process may not lock two megabytes")
    den = Den(tmp_path, LockedPages(), budget=2 * size)
    den.step("a", model=size, empty=0)
    yield den
    den.tier.close()
    assert den.pages.pid is None


def test_locked_pages_stay_and_are_given_back(locked):
    a = locked.step("a", more=10)
    locked.keep(a)
    assert locked_kib(locked.pages.pid) == 1024 + 4
    assert (locked.tier.usage()["is_locked"], locked.tier.is_kept(a.digest)) == (True, True)
    assert str(a.directory) not in Path("/proc/self/maps").read_text(), "it would count as the step's own memory"
    locked.tier.came_back(a.digest)
    locked.tier.finish()
    assert locked_kib(locked.pages.pid) == 0


def test_locks_end_with_the_process_that_holds_them_and_another_takes_over(locked):
    a, b = locked.step("a", more=10), locked.step("b")
    locked.keep(a)
    first = locked.pages.pid
    os.kill(first, signal.SIGTERM)  # it is meant for the server: nothing happens
    locked.tier.came_back(a.digest)
    locked.keep(a)
    assert locked.pages.pid == first
    os.kill(first, signal.SIGKILL)
    locked.keep(b)
    assert not locked.tier.is_kept(b.digest)
    locked.keep(b)
    assert locked.tier.is_kept(b.digest)
    assert locked.pages.pid != first
    assert locked_kib(locked.pages.pid) == 4


def test_a_file_that_cannot_be_locked_is_an_error_of_the_system(locked, tmp_path):
    with pytest.raises(OSError, match="locked into memory: No such file"):
        list(locked.pages.bring((1, 1), tmp_path / "nowhere"))


def test_warm_pages_are_read_and_dropped(tmp_path):
    den = Den(tmp_path, WarmPages(), budget=1000)
    a, b = den.step("a", model=600), den.step("b", model=600)
    den.keep(a, b)
    assert [den.tier.is_kept(each.digest) for each in (a, b)] == [False, True]
    assert not den.tier.usage()["is_locked"]
    den.tier.close()


def test_nobody_may_lock_more_than_its_limit_without_the_right_to():
    assert may_lock(0)

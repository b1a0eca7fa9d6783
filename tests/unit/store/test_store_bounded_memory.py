"""What is remembered of names has an end, however many there are."""

import pytest

from server.domain.model import CPU, Footprint
from server.residency.planning.last_names import LastNames
from server.store.disk.one_of_each import OneOfEach
from server.store.last_few import LastFew
from tests.fakes.source import step


def test_the_names_that_were_put_in_last_are_kept():
    few = LastFew(3)
    for name in "abcd":
        few.put(name, name.upper())
    few.put("b", "again")
    few.put("e", "E")
    assert dict(few) == {"d": "D", "b": "again", "e": "E"}
    few.forget("d")
    few.forget("unknown")
    assert few.get("d") is None


def test_the_names_that_were_added_last_are_known():
    names = LastNames(2)
    for name in ("a", "b", "a", "c"):
        names.add(name)
    assert ("a" in names, "b" in names, "c" in names) == (True, False, True)
    names.discard("a")
    names.discard("unknown")
    assert len(names) == 1


def test_equal_steps_are_one_and_others_of_the_same_digest_are_apart():
    each = OneOfEach()
    declared = Footprint({CPU: 7})
    first, equal, other = step("s"), step("s"), step("s", predicted=declared)
    held = each.hold(first)
    assert each.hold(equal) is held
    apart = each.hold(other)
    assert (apart == other, apart is held, len(each)) == (True, False, 2)
    each.release(held)
    each.release(apart)
    assert len(each) == 1
    assert each.hold(step("s")) is held
    each.release(held)
    each.release(held)
    assert len(each) == 0
    with pytest.raises(KeyError):
        each.release(held)

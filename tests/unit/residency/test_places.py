"""Places to wait: bounded, and shared so that no crowd shuts out others."""

from hypothesis import given
from hypothesis import strategies as st

from server.residency.places import Places


def taken_by(places, name, most=10_000):
    count = 0
    while count < most and places.take(name):
        count += 1
    return count


def test_a_crowd_takes_half_of_what_others_leave():
    places = Places(512, 0.5)
    assert taken_by(places, "crowd") == 256
    assert taken_by(places, "second crowd") == 128
    assert places.take("somebody")
    assert places.taken == 385


def test_each_archive_gets_a_place_while_there_is_one():
    places = Places(3, 0.1)
    assert [places.take(name) for name in "aabbccd"] == [True, False, True, False, True, False, False]
    places.leave("b")
    assert places.take("d")


def test_a_share_of_one_leaves_all_to_one():
    assert taken_by(Places(7, 1.0), "a") == 7


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=200), st.integers(8, 40))
def test_nobody_holds_more_than_the_share_and_a_newcomer_finds_a_place(moves, most):
    places, held = Places(most, 0.5), dict.fromkeys("abcdef", 0)
    for name, is_taking in moves:
        if is_taking and places.take(name):
            held[name] += 1
            assert held[name] <= max(1, 0.5 * (most - (sum(held.values()) - held[name])) + 1)
        elif not is_taking and held[name]:
            places.leave(name)
            held[name] -= 1
        assert places.taken == sum(held.values()) <= most
    if most > 3 * len(held):
        assert places.take("newcomer")

"""The running counts always say what a count from scratch says."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from server.domain.model import StepDigest
from server.store.disk.ledger import Ledger

DIGESTS = [StepDigest(f"d{n}") for n in range(5)]
_FILES = st.dictionaries(st.tuples(st.just(1), st.integers(0, 5)), st.just(7), max_size=3)
_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.sampled_from(DIGESTS), _FILES),
        st.tuples(st.just("remove"), st.sampled_from(DIGESTS)),
        st.tuples(st.just("hold"), st.lists(st.sampled_from(DIGESTS), min_size=1, max_size=3)),
        st.tuples(st.just("release"), st.integers(0, 5)),
    ),
    max_size=30,
)


@given(_EVENTS)
def test_the_counts_match_a_count_from_scratch(events):
    ledger, placed, records = Ledger(), {}, []
    for event, *arguments in events:
        if event == "place" and arguments[0] not in placed:
            ledger.place(*arguments)
            placed[arguments[0]] = arguments[1]
        elif event == "remove":
            ledger.remove(arguments[0])
            placed.pop(arguments[0], None)
        elif event == "hold":
            ledger.hold(arguments[0])
            records.append(arguments[0])
        elif event == "release" and records:
            ledger.release(records.pop(arguments[0] % len(records)))
        held = {digest for record in records for digest in record}
        assert ledger.used_bytes == 7 * len({file for files in placed.values() for file in files})
        assert ledger.orphans == placed.keys() - held
        assert ledger.steps == placed


def test_a_step_that_lies_on_the_disk_costs_some_hundred_bytes():
    steps = [StepDigest(f"{number:064x}") for number in range(2000)]
    tracemalloc.start()
    try:
        ledger, before = Ledger(), tracemalloc.get_traced_memory()[0]
        for number, digest in enumerate(steps):
            ledger.place(digest, {(1 << 40 | 7, 3 * number + file + 10_000): 5_000 + number for file in range(3)})
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken / len(steps) < 700
    assert ledger.steps[steps[5]] == {(1 << 40 | 7, 10_015 + file): 5_005 for file in range(3)}

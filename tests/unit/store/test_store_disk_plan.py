"""What is thrown off the disk: the least recently used, no more than needed, and never what is in use."""

from hypothesis import given
from hypothesis import strategies as st

from server.domain.model import StepDigest
from server.store.disk.ledger import Ledger
from server.store.disk.plan import Record
from server.store.disk.plan import plan as decide

A, B, C, SHARED = (StepDigest(letter) for letter in "abcs")


def plan(records, steps, protected, allowed_bytes, **more):
    return decide(_ledger(records, steps), records, protected, allowed_bytes, **more)


def _ledger(records, steps):
    ledger = Ledger()
    for digest, files in steps.items():
        ledger.place(digest, files)
    for record in records:
        ledger.hold(record.steps)
    return ledger


def used_bytes(steps):
    """Straight from the definition: every file once."""
    return sum({file: size for files in steps.values() for file, size in files.items()}.values())


def _files(inode, size):
    return {(1, inode): size}


def test_nothing_goes_while_everything_fits():
    decision = plan([Record("x", [A])], {A: _files(1, 10)}, protected=[], allowed_bytes=10)
    assert decision.drop == ()
    assert decision.delete == frozenset()
    assert decision.remaining_bytes == 10


def test_the_least_recently_used_goes_first():
    steps = {A: _files(1, 10), B: _files(2, 10), C: _files(3, 10)}
    records = [Record("old", [A]), Record("newer", [B]), Record("newest", [C])]
    assert plan(records, steps, protected=[], allowed_bytes=20).drop == ("old",)


def test_orphans_go_even_when_there_is_room():
    steps = {A: _files(1, 10), B: _files(2, 10)}
    assert plan([Record("x", [A])], steps, protected=[], allowed_bytes=100).delete == {B}


def test_shared_steps_stay_while_anybody_holds_them():
    steps = {A: _files(1, 1), B: _files(2, 1), SHARED: _files(3, 100)}
    decision = plan([Record("x", [SHARED, A]), Record("y", [SHARED, B])], steps, protected=[], allowed_bytes=101)
    assert decision.drop == ("x",)
    assert decision.delete == {A}


def test_protected_steps_stay_and_their_records_with_them():
    steps = {A: _files(1, 10), B: _files(2, 10)}
    decision = plan([Record("x", [A]), Record("y", [B])], steps, protected=[A], allowed_bytes=0)
    assert decision.drop == ("y",)
    assert decision.remaining_bytes == 10


def test_a_small_archive_is_given_back_when_a_large_one_had_to_go_after_it():
    steps = {A: _files(1, 1), B: _files(2, 100)}
    decision = plan([Record("small", [A]), Record("large", [B])], steps, protected=[], allowed_bytes=50)
    assert decision.drop == ("large",)


def test_hard_links_count_once():
    steps = {A: _files(7, 10), B: _files(7, 10)}
    assert used_bytes(steps) == 10
    assert plan([Record("x", [A]), Record("y", [B])], steps, protected=[], allowed_bytes=10).drop == ()


DIGESTS = [StepDigest(f"d{n}") for n in range(8)]
_STEPS = st.fixed_dictionaries(
    {digest: st.dictionaries(st.tuples(st.just(1), st.integers(0, 9)), st.just(None), max_size=3) for digest in DIGESTS}
)
_RECORDS = st.lists(st.lists(st.sampled_from(DIGESTS), min_size=1, max_size=4), max_size=8)


@given(
    _STEPS,
    st.lists(st.integers(0, 50), min_size=10, max_size=10),
    _RECORDS,
    st.sets(st.sampled_from(DIGESTS)),
    st.integers(-5, 300),
)
def test_the_decision_is_safe_sufficient_and_minimal(shapes, sizes, holders, protected, allowed):
    steps = {digest: {file: sizes[file[1]] for file in files} for digest, files in shapes.items()}
    records = [Record(f"r{n}", held) for n, held in enumerate(holders)]
    decision = plan(records, steps, protected, allowed)

    def remaining(dropped):
        held = set(protected).union(*(record.steps for record in records if record.key not in dropped))
        return used_bytes({digest: files for digest, files in steps.items() if digest in held})

    kept = [record for record in records if record.key not in decision.drop]
    assert not decision.delete & set(protected), "a protected step was deleted"
    assert all(not decision.delete & set(record.steps) for record in kept), "a kept record lost a step"
    assert decision.remaining_bytes == remaining(decision.drop), "the figure is wrong"
    freeable = {record.key for record in records if not set(record.steps) <= set(protected)}
    assert (decision.remaining_bytes <= allowed) == (remaining(freeable) <= allowed), "more could have gone"
    for key in decision.drop:
        assert remaining(set(decision.drop) - {key}) > allowed, f"{key} went without need"

"""What every batch keeps, whatever waits; and that breaking it is seen."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.serving import batch_plan
from server.serving.batch_plan import MAX_PADDED_BYTES, Batch, Candidate, next_batch
from server.serving.batch_rules import BatchRules

LINES = st.lists(
    st.builds(
        Candidate,
        arrived=st.just(0.0),
        rank=st.integers(1, 2),
        rows=st.integers(1, 5),
        length=st.sampled_from([0, 3, 40, 41, 300, 5000]),
        kind=st.sampled_from("ab"),
        is_alone=st.booleans(),
    ),
    min_size=1,
    max_size=60,
)
RULES = st.builds(
    BatchRules,
    max_rows=st.integers(2, 16),
    preferred_rows=st.sampled_from([(), (2,), (2, 4)]),
    is_text=st.booleans(),
)


def problems(line, rules, batch):
    """Every promise that a batch breaks."""
    chosen = [line[index] for index in batch.chosen]
    if not chosen:
        return ["nobody runs"]
    first = min(line, key=lambda each: each.rank)
    found = []
    if first not in chosen:
        found.append("who waited longest is left behind")
    if len(set(batch.chosen)) < len(chosen):
        found.append("one runs twice")
    if len(chosen) == 1:
        return found
    rows = sum(each.rows for each in chosen)
    if rows > rules.max_rows:
        found.append("too many rows")
    if len({(each.kind, each.rank) for each in chosen}) > 1:
        found.append("different kinds")
    if any(each.is_alone for each in chosen):
        found.append("one that must be alone")
    if rules.is_text and rows * max(each.length for each in chosen) > MAX_PADDED_BYTES:
        found.append("too much padding")
    return found


@given(LINES, RULES)
def test_every_batch_has_who_waited_longest_and_only_what_fits(line, rules):
    assert problems(line, rules, next_batch(line, rules, now=1.0)) == []


@pytest.mark.parametrize(
    ("planted", "seen"),
    [
        (lambda line, rules: tuple(range(len(line)))[-1:], "who waited longest is left behind"),
        (lambda line, rules: (0, 0), "one runs twice"),
        (lambda line, rules: tuple(range(len(line))), "too many rows"),
        (lambda line, rules: (0, 1), "different kinds"),
        (lambda line, rules: (0, 2), "one that must be alone"),
        (lambda line, rules: (0, 3), "too much padding"),
        (lambda line, rules: (), "nobody runs"),
    ],
    ids=["starved", "twice", "rows", "kinds", "alone", "padding", "idle"],
)
def test_a_planted_bug_is_seen(planted, seen):
    plain = Candidate(arrived=0.0, rank=1, rows=1, length=10, kind="a", is_alone=False)
    line = [plain, replace(plain, kind="b"), replace(plain, is_alone=True), replace(plain, length=5000)]
    rules = BatchRules(max_rows=3, is_text=True)
    assert seen in problems(line, rules, Batch(planted(line, rules)))


@settings(max_examples=50)
@given(st.lists(st.integers(1, 400), min_size=2, max_size=60), st.lists(st.integers(1, 400), max_size=200))
def test_nobody_is_overtaken_for_ever(waiting, arriving):
    """Whatever keeps coming, a request runs after at most as many batches as requests were before it."""
    rules = BatchRules(max_rows=64, is_text=True)
    line = [Candidate(0.0, 0, 1, length, "a", is_alone=False) for length in waiting]
    last, more = line[-1], iter(arriving)
    for _ in range(len(waiting)):
        chosen = next_batch(line, rules, now=1.0).chosen
        if any(line[index] is last for index in chosen):
            return
        line = [each for index, each in enumerate(line) if index not in chosen]
        line += [Candidate(1.0, 0, 1, length, "a", is_alone=False) for _, length in zip(chosen, more, strict=False)]
    raise AssertionError("overtaken for ever")


@given(st.permutations(range(8, 68, 5)), st.integers(1, 6))
def test_texts_of_similar_length_run_together(lengths, rows):
    """Of equally old texts none between the shortest and the longest of a batch is left out for one further away."""
    line = [Candidate(0.0, 0, 1, length * 5, "a", is_alone=False) for length in lengths]
    chosen = [line[index].length for index in next_batch(line, BatchRules(rows + 1, is_text=True), now=1.0).chosen]
    left = [each.length for each in line if each.length not in chosen]
    assert not [length for length in left if min(chosen) < length < max(chosen)]


def cost(lengths):
    return batch_plan._RUN_BYTES + len(lengths) * (max(lengths) + batch_plan._ROW_BYTES)


def divisions(texts):
    """Every way to divide them into batches, whatever their lengths."""
    if not texts:
        yield []
        return
    first, rest = texts[0], texts[1:]
    for picked in range(1 << len(rest)):
        mates = [text for at, text in enumerate(rest) if picked >> at & 1]
        others = [text for at, text in enumerate(rest) if not picked >> at & 1]
        for more in divisions(others):
            yield [[first, *mates], *more]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 290), min_size=1, max_size=5))  # all of them fit into one batch
def test_no_other_division_costs_less(texts):
    """Batches that run one after the other until all have run cost no more than any other way to run them."""
    rules = BatchRules(max_rows=64, is_text=True)
    line = [Candidate(0.0, 0, 1, length, "a", is_alone=False) for length in texts]
    total = 0
    while line:
        chosen = next_batch(line, rules, now=1.0).chosen
        total += cost([line[index].length for index in chosen])
        line = [each for index, each in enumerate(line) if index not in chosen]
    assert total == min(sum(map(cost, division)) for division in divisions(texts))


def test_short_texts_wait_for_no_long_ones():
    """Two that differ by more than a run costs run side by side, each on a core of its own."""
    rules = BatchRules(max_rows=64, is_text=True)
    line = [Candidate(0.0, 0, 1, length, "a", is_alone=False) for length in (300, 40, 290, 35)]
    assert next_batch(line, rules, now=1.0).chosen == (0, 2)


def test_a_batch_waits_for_a_preferred_size_only_as_long_as_it_may():
    one = Candidate(arrived=0.0, rank=0, rows=1, length=0, kind="a", is_alone=False)
    rules = BatchRules(max_rows=8, preferred_rows=(2, 4), max_delay_s=0.5)
    assert next_batch([one], rules, now=0.2) == Batch((), pytest.approx(0.3))
    assert next_batch([one, one], rules, now=0.2) == Batch((0, 1))
    assert next_batch([one] * 3, rules, now=0.2) == Batch((0, 1))
    assert next_batch([one] * 3, rules, now=0.6) == Batch((0, 1, 2))
    assert next_batch([one] * 5, rules, now=0.6) == Batch((0, 1, 2, 3))

"""Which of the waiting requests run next, together. Pure.

Text is padded to the longest of its batch, so batches of mixed lengths are slower than no batches at all; and a run
costs something, however little is in it. So the oldest texts are divided into the batches that cost least all in all,
and of those runs the one with the text that has waited longest. That is a question of lengths sorted: each batch is a
run of neighbours. Nothing is remembered of the division: who comes meanwhile may fit better.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from server.serving.batch_rules import BatchRules

MAX_PADDED_BYTES: Final = 1536
"""Rows x bytes of the longest: about 300 tokens of English, beyond which a CPU gains nothing from a larger batch, and
those in it wait for each other."""
_ROW_BYTES: Final = 8
"""What a row costs beside its text: the tokens around it."""
_RUN_BYTES: Final = 70
"""What a run costs beside its rows: of MiniLM 4.5 ms on one core, where a token (5 bytes) takes 0.23 ms. Less than that
is taken for it, since a small batch is over sooner."""
_WINDOW: Final = 16
"""How many of the oldest are divided. Of a closed loop of 64 texts of 8 to 64 tokens, simulated: with 16 a p99 of 1.33
times the mean (with 20 1.5 was measured); with 24 2 % more throughput, and 1.44; with the whole line 5 %, and 1.8."""


@dataclass(slots=True, eq=False)
class Candidate:
    """What the plan looks at of a waiting request."""

    arrived: float
    """Seconds of the clock."""
    rank: int
    """Lower is served first; equal ranks by arrival, in which order the line stands."""
    rows: int
    length: int
    """Bytes of its longest text; 0 where rows are not padded."""
    kind: Hashable
    """What has to be equal of requests in one batch."""
    is_alone: bool
    """Whether it must not be merged."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Indexes of those who run now, oldest first; none of them: come back in `wait_s`, or when somebody joins."""

    chosen: tuple[int, ...]
    wait_s: float = 0.0


def next_batch(line: Sequence[Candidate], rules: BatchRules, now: float) -> Batch:
    """Choose from a line that is not empty, in order of arrival."""
    first = min(range(len(line)), key=lambda index: line[index].rank)
    oldest = line[first]
    if oldest.is_alone:
        return Batch((first,))
    mates = (
        index
        for index in range(first + 1, len(line))
        if line[index].rank == oldest.rank and not line[index].is_alone and line[index].kind == oldest.kind
    )
    if rules.is_text:
        chosen = _by_length(line, rules, [first, *islice(mates, _WINDOW - 1)])
    else:
        chosen = _in_order(line, rules, first, mates)
    return _sized(line, rules, chosen, now)


def _by_length(line: Sequence[Candidate], rules: BatchRules, oldest: Sequence[int]) -> list[int]:
    """The batch of the first of `oldest` when all of them are divided at the least cost. In order of arrival."""
    if len(oldest) == 1:
        return list(oldest)
    by_length = sorted(oldest, key=lambda index: line[index].length)
    begins = _division([line[index].rows for index in by_length], [line[index].length for index in by_length], rules)
    at = by_length.index(oldest[0])
    end = len(by_length)
    while begins[end] > at:
        end = begins[end]
    return sorted(by_length[begins[end] : end])


def _division(rows: Sequence[int], lengths: Sequence[int], rules: BatchRules) -> list[int]:
    """For the texts before each position, sorted by length: where the last of their batches begins."""
    least_cost, begins = [0], [0]
    for end in range(1, len(rows) + 1):
        row_bytes = lengths[end - 1] + _ROW_BYTES
        begin = end - 1
        together = rows[begin]
        best, best_begin = least_cost[begin] + _RUN_BYTES + together * row_bytes, begin
        while begin:
            begin -= 1
            together += rows[begin]
            if together > rules.max_rows or together * row_bytes > MAX_PADDED_BYTES:
                break
            cost = least_cost[begin] + _RUN_BYTES + together * row_bytes
            if cost <= best:
                best, best_begin = cost, begin
        least_cost.append(best)
        begins.append(best_begin)
    return begins


def _in_order(line: Sequence[Candidate], rules: BatchRules, first: int, mates: Iterable[int]) -> list[int]:
    """As many as fit, in the order in which they came; the first who does not fit ends the batch."""
    chosen, rows = [first], line[first].rows
    for index in mates:
        rows += line[index].rows
        if rows > rules.max_rows:
            break
        chosen.append(index)
    return chosen


def _sized(line: Sequence[Candidate], rules: BatchRules, chosen: list[int], now: float) -> Batch:
    """Cut to a preferred size, or wait for one while the delay allows."""
    rows = 0
    best = 0
    for count, index in enumerate(chosen, 1):
        rows += line[index].rows
        if rows in rules.preferred_rows:
            best = count
    wait_s = line[chosen[0]].arrived + rules.max_delay_s - now
    if best and (wait_s > 0 or rows > rules.preferred_rows[-1]):
        return Batch(tuple(chosen[:best]))
    if wait_s > 0 and rows < rules.max_rows and len(chosen) == len(line):
        return Batch((), wait_s)
    return Batch(tuple(chosen))

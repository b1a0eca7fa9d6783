"""What no schedule can beat: the counterpart to the offline policies, which are schedules.

To make a request a hit, its archive has to stay from the request before: that takes bytes x requests between. All of
memory is budget x requests. Filling it with the cheapest intervals first, as if they could be cut and moved freely,
allows at least as many hits as any real schedule has (the lower bound PFOO-L of Berger, Beckmann and Harchol-Balter,
SIGMETRICS 2018). With sharing each part is its own object, so the bound on load-seconds stays true; that on misses is
taken over the parts that only one archive has. There the floor is loose in small budgets: parts are freed one by one,
where a real schedule keeps whole archives.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.traffic.trace import Archive, Trace


@dataclass(frozen=True, slots=True)
class Floor:
    """At least so much, whoever decides."""

    miss_ratio: float
    load_seconds: float


@dataclass(frozen=True, slots=True)
class _Intervals:
    room: NDArray[np.float64]
    """Bytes x requests that it takes to keep something from one use to the next."""
    load_s: NDArray[np.float64]
    """What keeping it saves."""
    first_load_s: float
    """What cannot be saved: the first use of each."""


def floor(trace: Trace, archives: tuple[Archive, ...], budget: int) -> Floor:
    """The floor for a budget in bytes, over the requests for archives that fit into it."""
    fits = np.array([archive.bytes <= budget for archive in archives])[trace.asked]
    asked = trace.asked[fits]
    if not len(asked):
        return Floor(0.0, 0.0)
    holders: dict[str, int] = {}
    for archive in archives:
        for part in archive.parts:
            holders[part.digest] = holders.get(part.digest, 0) + 1
    own = np.array([sum(part.bytes for part in archive.parts if holders[part.digest] == 1) for archive in archives])
    hits = _most(_intervals(asked, own.astype(np.float64), np.ones(len(archives))), budget * len(asked))
    loads = _part_intervals(asked, archives)
    needed = loads.first_load_s + float(loads.load_s.sum())
    return Floor((len(asked) - hits) / len(asked), needed - _most(loads, budget * len(asked)))


def _part_intervals(asked: NDArray[np.int64], archives: tuple[Archive, ...]) -> _Intervals:
    """Every request asks for each part of its archive; they lie side by side in columns, then one after the other."""
    parts = {part.digest: part for archive in archives for part in archive.parts}
    indices = {digest: index for index, digest in enumerate(parts)}
    width = max(len(archive.parts) for archive in archives)
    table = np.full((len(archives), width), -1)
    for row, archive in enumerate(archives):
        table[row, : len(archive.parts)] = [indices[part.digest] for part in archive.parts]
    used = table[asked].ravel()
    places = np.repeat(np.arange(len(asked)), width)[used >= 0]
    sizes = np.array([part.bytes for part in parts.values()], np.float64)
    loads = np.array([part.load_s for part in parts.values()])
    return _intervals(used[used >= 0], sizes, loads, places)


def _intervals(
    asked: NDArray[np.int64],
    sizes: NDArray[np.float64],
    values: NDArray[np.float64],
    places: NDArray[np.int64] | None = None,
) -> _Intervals:
    at = np.arange(len(asked)) if places is None else places
    order = np.argsort(asked, kind="stable")
    what, when = asked[order], at[order]
    again = what[1:] == what[:-1]
    kept = what[1:][again]
    firsts = np.unique(asked)
    return _Intervals((when[1:] - when[:-1])[again] * sizes[kept], values[kept], float(values[firsts].sum()))


def _most(intervals: _Intervals, room: float) -> float:
    """The most value that fits into `room`: best value per room first, the last one in part."""
    order = np.argsort(intervals.room / np.maximum(intervals.load_s, 1e-12), kind="stable")
    filled = np.concatenate([[0.0], np.cumsum(intervals.room[order])])
    value = np.concatenate([[0.0], np.cumsum(intervals.load_s[order])])
    return float(np.interp(room, filled, value))

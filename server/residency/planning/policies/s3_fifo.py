"""S3-FIFO: what is used once leaves soon, however much of it comes; what comes back stays.

Source: Yang, Zhang, Qiu, Yue, Vinayak: "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1.
Here: queues by bytes, and leased or pinned archives are stepped over.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from server.residency.planning.policies.policy import last_use
from server.residency.planning.records import ArchiveRecord

SMALL_SHARE: Final = 0.1
"""How much of all resident bytes the small queue keeps when the main one has to give."""
MOST_HITS: Final = 3
HITS_FOR_MAIN: Final = 2
MAIN_WORTH: Final = 10.0
_Queue: TypeAlias = dict[ArchiveRecord, int]
"""Oldest first; with each archive, its uses when it came (the hits that it had to give are added to them)."""
_Turns: TypeAlias = deque[tuple[ArchiveRecord, int]]


class S3Fifo:
    """Three queues: small (new ones), main (proven ones), ghost (names of those that left from the small one).

    From the small queue the oldest leaves, unless it was hit twice since it came: then it moves to main. In the main
    queue the oldest leaves, unless it was hit: then it goes to the end with one hit less. A name in the ghost queue
    that comes back goes to main at once, and so does new content of an archive that is there.

    Values are the hits, and 10 more in the main queue.
    """

    name = "s3-fifo"
    age = 0.0

    def __init__(self) -> None:
        self._small: _Queue = {}
        self._main: _Queue = {}
        self._ghost: dict[str, int] = {}

    def arrived(self, record: ArchiveRecord) -> None:
        """Into main where the name is known, else into small. The use that it was loaded for is no hit."""
        name = record.archive.name
        is_known = self._ghost.pop(name, None) is not None or any(each.archive.name == name for each in self._main)
        (self._main if is_known else self._small)[record] = record.uses
        if not (record.uses or is_known):  # as if it had come an hour ago: before all that was ever used
            self._small = dict(sorted(self._small.items(), key=lambda turn: turn[0].uses > 0))

    def order(self, records: Iterable[ArchiveRecord]) -> Iterator[ArchiveRecord]:
        """What the queues would let go one after the other if nothing were used in between."""
        meant = set(records)
        small = deque(turn for turn in self._small.items() if turn[0] in meant)
        main = deque(turn for turn in self._main.items() if turn[0] in meant)
        for record, _, _ in _leaving(small, main):
            yield record

    def value(self, record: ArchiveRecord) -> float:
        """Hits, and 10 more in the main queue."""
        if record in self._main:
            return MAIN_WORTH + _hits(record, self._main[record])
        return float(_hits(record, self._small.get(record, record.uses)))

    def explain(self, record: ArchiveRecord, at: float) -> str:
        """Which queue, and how often it was hit there."""
        queue = "main" if record in self._main else "small"
        return (
            f"in the {queue} queue, {self.value(record) % MAIN_WORTH:.0f} of {MOST_HITS} hits; {last_use(record, at)}"
        )

    def evicted(self, record: ArchiveRecord) -> None:
        """Move what was looked at before this victim was found; remember the name of one from the small queue."""
        small, main = deque(self._small.items()), deque(self._main.items())
        stepped_over: tuple[_Queue, _Queue] = {}, {}
        for each, seen, is_small in _leaving(small, main):
            if each is record:
                if is_small:
                    self._remember(record)
                break
            stepped_over[not is_small][each] = seen  # leased, pinned or spared: its turn is when it can leave
        self._small = {**stepped_over[0], **dict(small)}
        self._main = {**stepped_over[1], **dict(main)}

    def departed(self, record: ArchiveRecord) -> None:
        """It is in no queue any more."""
        self._small.pop(record, None)
        self._main.pop(record, None)

    def _remember(self, record: ArchiveRecord) -> None:
        """The ghosts are worth as many bytes as are resident."""
        name = record.archive.name
        self._ghost.pop(name, None)
        self._ghost[name] = record.size_bytes
        room = sum(each.size_bytes for each in [*self._small, *self._main])
        total = sum(self._ghost.values())
        while total > room:
            total -= self._ghost.pop(next(iter(self._ghost)))


def _leaving(small: _Turns, main: _Turns) -> Iterator[tuple[ArchiveRecord, int, bool]]:
    """Take turns from both queues until they are empty, and yield what leaves: archive, uses when it came, from small.

    This is EVICT, EVICTS and EVICTM of the source's algorithm 1.
    """
    small_bytes, main_bytes = _bytes(small), _bytes(main)
    while small or main:
        is_small = bool(small) and (not main or small_bytes >= SMALL_SHARE * (small_bytes + main_bytes))
        record, seen = small.popleft() if is_small else main.popleft()
        hits = _hits(record, seen)
        if is_small:
            small_bytes -= record.size_bytes
            stays, left = hits >= HITS_FOR_MAIN, 0
        else:
            main_bytes -= record.size_bytes
            stays, left = hits > 0, hits - 1
        if stays:
            main.append((record, record.uses - left))
            main_bytes += record.size_bytes
        else:
            yield record, seen, is_small


def _hits(record: ArchiveRecord, seen: int) -> int:
    return min(MOST_HITS, record.uses - seen)


def _bytes(turns: _Turns) -> int:
    return sum([record.size_bytes for record, _ in turns])

"""What may be answered, and what may fail: uploads, faults and answers as they happened, and the judgement of each.

An answer is right if one version gave all of it, that version was uploaded whole, and no newer one had been seen when
the request was sent. A failure is right if a fault that was at work (or had just been) explains its status.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from benchmarks.chaos.archives import Archive

MOST_TOLD: Final = 20
_NOT_READY: Final = "is not ready yet; try again in"
"""Archives take turns in a memory that does not hold them: who waited for too long is told to come back."""
_KILLED: Final = "step's process killed"
"""Nobody notices before the step is asked again: Triton answers that one request with an error, however late."""
EXPLAINS: Final[dict[str, frozenset[int]]] = {
    "engine killed": frozenset({503, 504}),
    _KILLED: frozenset({400, 500, 503, 504}),
    "S3": frozenset({503, 504}),
    "disk full": frozenset({504, 507}),
    "broken upload": frozenset({400, 500}),
    "deleted": frozenset({404}),
    "unloaded": frozenset({404}),
}
"""Statuses by fault. A model that cannot be loaded is a 400 on some surfaces and a 500 on others."""


_CONTENT: Final = frozenset({"broken upload", "deleted"})
"""Faults of what is in the store."""


@dataclass(slots=True)
class Fault:
    """Something bad. `archive` "": it concerns all. `ended` is infinite while it lasts."""

    kind: str
    began: float
    ended: float = float("inf")
    archive: str = ""


@dataclass(slots=True)
class _Known:
    whole: dict[int, float] = field(default_factory=dict)
    """Versions that were uploaded whole, and when that began."""
    newest_seen: int = -1
    answered_at: float = float("-inf")
    """When the last right answer ended."""


class Truth:
    """The judge; thread-safe. Times are seconds of one clock."""

    def __init__(self, grace_s: float) -> None:
        """`grace_s`: for so long after its end a fault still explains failures."""
        self._grace_s = grace_s
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._faults: list[Fault] = []
        self.outcomes: Counter[str] = Counter()
        self.explained: Counter[str] = Counter()
        self.wrongs: list[str] = []
        self.wrong_count = 0

    def uploading(self, archive: Archive, version: int, at: float) -> None:
        """A whole version is on its way into the store."""
        with self._lock:
            self._known.setdefault(archive.name, _Known()).whole[version] = at

    def begin(self, kind: str, at: float, archive: str = "") -> Fault:
        """A fault begins; set its `ended` when it is over."""
        fault = Fault(kind, at, archive=archive)
        with self._lock:
            self._faults.append(fault)
        return fault

    def newest_seen(self, archive: Archive) -> int:
        """The newest version that any answer so far was from; -1 before the first."""
        with self._lock:
            return self._known[archive.name].newest_seen

    def answered(self, archive: Archive, version: int | str, not_before: int, ended: float) -> None:
        """Judge an answer; `not_before` is what `newest_seen` said when the request was sent."""
        with self._lock:
            known = self._known[archive.name]
            if isinstance(version, str):
                self._wrong(f"{archive.name}: {version}")
            elif known.whole.get(version, float("inf")) > ended:
                self._wrong(f"{archive.name}: answered by version {version}, which was never uploaded whole")
            elif version < not_before:
                self._wrong(f"{archive.name}: version {version} after {not_before} had been seen")
            else:
                known.newest_seen = max(known.newest_seen, version)
                known.answered_at = max(known.answered_at, ended)
                self.outcomes["200"] += 1

    def failed(self, archive: Archive, status: int, said: str, began: float, ended: float) -> None:
        """Judge a failure that has the right shape."""
        with self._lock:
            self.outcomes[str(status)] += 1
            answered_at = self._known.get(archive.name, _Known()).answered_at
            for fault in self._faults:
                is_of_it = fault.archive in {"", archive.name} and status in EXPLAINS[fault.kind]
                is_unseen = fault.kind == _KILLED and answered_at < fault.ended
                if is_of_it and fault.began <= ended and (is_unseen or began <= self._explains_until(fault)):
                    self.explained[f"{status} {fault.kind}"] += 1
                    return
            if status == 503 and _NOT_READY in said:
                self.explained["503 too many archives for the memory"] += 1
                return
            self._wrong(f"{archive.name}: {status} without a fault that explains it: {said[:300]}")

    def misshapen(self, what: str) -> None:
        """A failure that no client could read, or a promise broken elsewhere."""
        with self._lock:
            self._wrong(what)

    def _explains_until(self, fault: Fault) -> float:
        """Until when a fault explains failures: while the store cannot be looked at, nobody sees content made good."""
        until = fault.ended + self._grace_s
        if fault.kind not in _CONTENT:
            return until
        for other in self._faults:  # in the order in which they began
            if other.kind == "S3" and fault.began <= other.ended and other.began <= until:
                until = max(until, other.ended + self._grace_s)
        return until

    def _wrong(self, what: str) -> None:
        self.wrong_count += 1
        if what not in self.wrongs and len(self.wrongs) < MOST_TOLD:
            self.wrongs.append(what)

"""Who waits for what: first come, first served by archive; the waiters of one archive are served together.

Some can wait longer than others. A *patient* waiter (a job) and an *order* (content that somebody wanted who could not
wait for it, so that it is there when they come back) come after everybody else, and disturb nobody: see `claims.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from server.domain.model import StagedArchive, Step, StepDigest
from server.residency.planning.lines import Lines
from server.residency.planning.small import SmallOnes
from server.residency.planning.whole import WholeOnes


class WaitingRoom:
    """Waiters by the key of the content they want.

    `queue` holds the contents that wait for room, in the order in which they were first asked for. The waiters of
    content that is being loaded have left the queue, and are still here.

    Nothing here that happens for an event goes through the whole queue.
    """

    def __init__(
        self,
        is_held: Callable[[StepDigest], bool] = lambda _: False,
        group_of: Callable[[str], str] = lambda _: "",
        size_of: Callable[[Step], int] = lambda _: 0,
        rush_from: int = 1_000_000,
    ) -> None:
        """`is_held`: whether a step is in memory, or coming, and stays; `group_of` a name: who shares a line.

        `size_of`: the bytes that a step will take on the device where it takes most. `rush_from`: see `is_rush`.
        """
        self.queue: dict[str, StagedArchive] = {}
        self.whole = WholeOnes(is_held)
        """Which of the queue need no room."""
        self.small = SmallOnes(is_held, size_of)
        """Which of the queue may need little."""
        self.steps: Counter[StepDigest] = Counter()
        """The steps of all that is queued."""
        self._group_of = group_of
        self._lines = Lines()
        self._rush_from = rush_from
        self.changes = 0
        """Counts how often the queue changed."""
        self.is_cut = False
        """Whether so many wait in front that the last pass looked at none of those who came last."""
        self.passes: dict[str, int] = {}
        """How many that came later were given room before a content that waits for room."""
        self.orders: dict[str, float] = {}
        """Contents to be loaded even if nobody waits for them, and until when (monotonic s)."""
        self._archives: dict[str, StagedArchive] = {}
        self._named: dict[str, dict[str, StagedArchive]] = {}
        self._waiters: dict[str, list[int]] = {}
        self._key_of: dict[int, str] = {}
        self._patient: set[int] = set()

    def join(self, waiter: int, archive: StagedArchive, *, is_queued: bool, is_patient: bool = False) -> None:
        """Let a waiter in, behind the others; `is_queued` when its content still has to wait for room."""
        self._enter(archive, is_queued=is_queued)
        self._waiters[archive.key].append(waiter)
        self._key_of[waiter] = archive.key
        if is_patient:
            self._patient.add(waiter)
        self._urgency_changed(archive.key)

    def order(self, archive: StagedArchive, until: float) -> None:
        """Have content loaded that nobody needs to wait for, if there is room for it before `until`."""
        self._enter(archive, is_queued=True)
        self.orders[archive.key] = until

    def expire(self, at: float) -> Sequence[str]:
        """Orders that took too long are void. Returns the keys that nobody wants any more."""
        late = [key for key, until in self.orders.items() if until <= at]
        for key in late:
            del self.orders[key]
        unwanted = [key for key in late if not self.is_awaited(key)]
        for key in unwanted:
            self.dismiss(key)
        return unwanted

    def leave(self, waiter: int) -> str | None:
        """A waiter gives up. Returns the key that nobody wants any more, if so."""
        key = self._key_of.pop(waiter, None)
        if key is None:
            return None
        self._patient.discard(waiter)
        self._waiters[key].remove(waiter)
        if self._waiters[key] or key in self.orders:
            self._urgency_changed(key)
            return None
        self.dismiss(key)
        return key

    def board(self, key: str) -> None:
        """The content has room now; its waiters go on waiting for the load."""
        self._unqueue(key)
        self.passes.pop(key, None)

    def dismiss(self, key: str) -> Sequence[int]:
        """Everybody who waits for the key leaves, to be granted or refused. Returns them in the order of arrival."""
        if key in self.queue:
            self._unqueue(key)
        self._forget(key)
        self.orders.pop(key, None)
        self.passes.pop(key, None)
        waiters = self._waiters.pop(key, [])
        self._patient.difference_update(waiters)
        for waiter in waiters:
            del self._key_of[waiter]
        return waiters

    def passed(self, key: str) -> None:
        """Somebody who came later was given room before this content."""
        self.passes[key] = self.passes.get(key, 0) + 1

    def in_turn(self, is_open: Callable[[str], bool] = lambda _: True) -> Iterator[StagedArchive]:
        """What waits for room: what is urgent, then the rest; each in order of arrival, in a rush by rounds. Lazy.

        A group's line ends where `is_open(group)` is false.
        """
        return self._lines.in_turn(is_open, in_rounds=self.is_rush)

    @property
    def is_rush(self) -> bool:
        """Whether so many contents wait that crowds are served in rounds."""
        return len(self.queue) >= self._rush_from

    def open_round(self, key: str) -> None:
        """It is this content's turn; in a rush everybody who waits for the same large step comes next."""
        if self.is_rush:
            self._lines.crowds.open(key)

    def whole_in_turn(self) -> Sequence[StagedArchive]:
        """What waits, and needs no room, in the same order."""
        return sorted(self.whole.now(), key=lambda archive: self._lines.turn_of(archive.key))

    def small_in_turn(self, room_bytes: int, most: int) -> Sequence[StagedArchive]:
        """What waits, and may fit into the room, in the same order: at most so many, and others the next time."""
        return sorted(self.small.within(room_bytes, most), key=lambda archive: self._lines.turn_of(archive.key))

    def held(self, digest: StepDigest) -> None:
        """Somebody holds a step that nobody held."""
        self.whole.held(digest)
        self.small.held(digest)

    def is_urgent(self, key: str) -> bool:
        """Whether somebody waits for this content who is not patient."""
        return not self._patient.issuperset(self._waiters.get(key, ()))

    def has_urgent(self) -> bool:
        """Whether content that waits for room is urgent."""
        return self._lines.has_urgent()

    def is_awaited(self, key: str) -> bool:
        """Whether anybody waits for this content."""
        return bool(self._waiters.get(key))

    def wanted(self) -> Sequence[StagedArchive]:
        """Every content that somebody waits for, or ordered."""
        return [self._archives[key] for key in self._waiters]

    def named(self, name: str) -> Sequence[StagedArchive]:
        """Every content of this name that somebody waits for, or ordered."""
        return list(self._named.get(name, {}).values())

    def counts(self) -> dict[str, int]:
        """How many wait, by key; 0 for an order."""
        return {key: len(waiters) for key, waiters in self._waiters.items()}

    def _enter(self, archive: StagedArchive, *, is_queued: bool) -> None:
        if archive.key not in self._archives:
            self._archives[archive.key] = archive
            self._named.setdefault(archive.name, {})[archive.key] = archive
        self._waiters.setdefault(archive.key, [])
        if is_queued and archive.key not in self.queue:
            self.queue[archive.key] = archive
            self.steps.update(step.digest for step in archive.steps)
            self.whole.enter(archive)
            self.small.enter(archive)
            self._lines.enter(archive, self._group_of(archive.name), is_patient=True)
            self.changes += 1

    def _forget(self, key: str) -> None:
        archive = self._archives.pop(key, None)
        if archive is not None:
            namesakes = self._named[archive.name]
            del namesakes[key]
            if not namesakes:
                del self._named[archive.name]

    def _unqueue(self, key: str) -> None:
        archive = self.queue.pop(key)
        for step in archive.steps:
            self.steps[step.digest] -= 1
            if not self.steps[step.digest]:
                del self.steps[step.digest]
        self.whole.leave(key)
        self.small.leave(key)
        self._lines.leave(key)
        self.changes += 1
        if not self.is_rush:
            self._lines.crowds.close()

    def _urgency_changed(self, key: str) -> None:
        if key in self.queue:
            self._lines.change(key, is_patient=not self.is_urgent(key))

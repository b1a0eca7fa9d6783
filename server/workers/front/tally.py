"""What a worker did, added up until its next report: a structural `serving.ports.InvocationLog` per lease."""

from collections.abc import Sequence

from server.domain.clock import Clock
from server.domain.errors import EngineLost
from server.workers.front.app import note_failure
from server.workers.words import Report, Uses


class LeaseTally:
    """Uses of one lease. A request that met no engine is passed on, and counted where it is answered."""

    def __init__(self, lease: int, clock: Clock, *, notes_arrivals: bool) -> None:
        self._lease = lease
        self._clock = clock
        self._notes_arrivals = notes_arrivals
        self._uses = Uses(lease)

    def served(self, name: str, is_hit: bool, waited_s: float, infer_s: float, total_s: float) -> None:  # noqa: ARG002
        """Note a request that was answered."""
        uses = self._uses
        uses.count += 1
        uses.infer_s += infer_s
        uses.overhead_s += total_s - infer_s
        uses.last_used = self._clock.now()
        if self._notes_arrivals:
            uses.arrivals.append(self._clock.wall() - total_s)

    def failed(self, name: str, error: Exception, total_s: float) -> None:  # noqa: ARG002
        """Note a request that met an error."""
        note_failure(error)
        if not isinstance(error, EngineLost):
            self._uses.errors += 1
            self._note_arrival(total_s)

    def left(self, name: str, total_s: float) -> None:  # noqa: ARG002
        """Note a request whose caller did not wait for the answer."""
        self._note_arrival(total_s)

    def take(self) -> Uses | None:
        """What was added up since the last time; `None`: nothing."""
        taken, self._uses = self._uses, Uses(self._lease)
        return taken if taken.count or taken.errors or taken.arrivals else None

    def _note_arrival(self, total_s: float) -> None:
        self._uses.last_used = self._clock.now()
        if self._notes_arrivals:
            self._uses.arrivals.append(self._clock.wall() - total_s)


class Tally:
    """Everything since the last report. Also a structural `serving.batch_line.BatchLog`."""

    def __init__(self, clock: Clock, *, notes_arrivals: bool) -> None:
        self._clock = clock
        self._notes_arrivals = notes_arrivals
        self._by_lease: dict[int, LeaseTally] = {}
        self._batches: list[tuple[int, list[float]]] = []

    def of(self, lease: int) -> LeaseTally:
        """The tally of a new lease."""
        tally = self._by_lease[lease] = LeaseTally(lease, self._clock, notes_arrivals=self._notes_arrivals)
        return tally

    def ran(self, rows: int, waited_s: Sequence[float]) -> None:
        """Note an execution of a batch."""
        self._batches.append((rows, list(waited_s)))

    def report(self, running: list[int], in_flight: int) -> Report:
        """Everything since the last time."""
        batches, self._batches = self._batches, []
        uses = [taken for tally in self._by_lease.values() if (taken := tally.take()) is not None]
        return Report(uses, running, in_flight, batches)

    def forget(self, lease: int) -> None:
        """The lease has come back, and was reported for the last time."""
        self._by_lease.pop(lease, None)

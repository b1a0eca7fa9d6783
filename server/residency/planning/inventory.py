"""Which steps and archives are in memory, coming or going, and who shares what.

Keeps references, charges and indexes consistent with each other; it never decides who comes or goes.
"""

from collections.abc import Callable, Iterator, Mapping

from server.domain.model import Device, Footprint, StagedArchive, Step, StepDigest
from server.residency.planning.ledger import Ledger, Room, add
from server.residency.planning.outlook import Outlook
from server.residency.planning.records import ArchiveRecord, StepRecord
from server.residency.planning.sizes import Predict, Sizes, distinct
from server.residency.planning.states import ArchiveMove, ArchiveState, StepMove, StepState


class Inventory:
    """Steps by digest (counted by reference), archives by key, and the ledger that charges them."""

    def __init__(self, budgets: Mapping[Device, int], predict: Predict) -> None:
        self.ledger = Ledger(budgets)
        self.steps: dict[StepDigest, StepRecord] = {}
        self.sizes = Sizes(self.ledger, predict, self.steps)
        self.archives: dict[str, ArchiveRecord] = {}
        self.leasable: dict[str, ArchiveRecord] = {}
        """By archive name: the one content that gives new leases."""
        self.loose: dict[StepDigest, StepRecord] = {}
        """Steps that no staying archive holds: their memory is on its way back."""
        self.planned: dict[StepDigest, StepRecord] = {}
        """Charged, and not yet being loaded, in the order of admission."""
        self.stalled: dict[StepDigest, StepRecord] = {}
        """Steps that wait for more room than was predicted."""
        self.may_complete = True
        """Whether an archive may have all its steps that was not asked about it since."""
        self.on_held: Callable[[StepDigest], None] = lambda _: None
        """Called when an archive holds a step that none held."""
        self.changes = 0
        """Counts how often the set of present steps, or what one of them asks for, changed."""
        self.admissions = 0
        self._by_name: dict[str, dict[str, ArchiveRecord]] = {}
        self._by_state: dict[ArchiveState, dict[str, ArchiveRecord]] = {state: {} for state in ArchiveState}
        self._callers: dict[StepDigest, set[StepDigest]] = {}
        self._loading: set[StepDigest] = set()

    # Questions

    def outlook(self) -> Outlook:
        """What comes and goes from here on, in the hands of the asker."""
        return Outlook(self.ledger)

    def named(self, name: str) -> list[ArchiveRecord]:
        """Every content of this archive that is in memory, coming or going."""
        return list(self._by_name.get(name, {}).values())

    def sharers(self, step: StepRecord) -> list[ArchiveRecord]:
        """The archives that were admitted with this step."""
        return [self.archives[key] for key in sorted(step.references)]

    def in_state(self, *states: ArchiveState) -> list[ArchiveRecord]:
        """The archives in one of these states, each in the order in which they came into it."""
        return [record for state in states for record in self._by_state[state].values()]

    def is_any(self, state: ArchiveState) -> bool:
        """Whether any archive is in this state."""
        return bool(self._by_state[state])

    def is_unloading(self, archive: StagedArchive) -> bool:
        """Whether a step of the archive is on its way out, so that it cannot be held now."""
        return any(
            step.digest in self.steps and self.steps[step.digest].state is StepState.UNLOADING for step in archive.steps
        )

    def startable(self) -> Iterator[StepRecord]:
        """Planned steps whose callees are resident and whose room is there, in the order of admission."""
        for record in self.planned.values():
            callees = (self.steps.get(digest) for digest in record.step.calls.values())
            if record.extra is None and all(callee is None or callee.state is StepState.RESIDENT for callee in callees):
                yield record

    @property
    def loading(self) -> int:
        """How many steps the engine is loading."""
        return len(self._loading)

    def in_flight(self) -> list[StepRecord]:
        """The steps that the engine is loading."""
        return [self.steps[digest] for digest in self._loading]

    @property
    def is_moving(self) -> bool:
        """Whether room will come back, or be settled, without anybody's decision."""
        return bool(self._loading or self.is_any(ArchiveState.RETIRED)) or any(
            step.state is not StepState.RESIDENT for step in self.loose.values()
        )

    def is_called(self, digest: StepDigest) -> bool:
        """Whether a step that is present calls this one."""
        return bool(self._callers.get(digest))

    def is_held(self, digest: StepDigest) -> bool:
        """Whether an archive that stays holds the step."""
        return digest in self.steps and digest not in self.loose

    # Changes

    def admit(self, archive: StagedArchive, at: float) -> ArchiveRecord:
        """Charge what is missing, and hold every step of the archive."""
        steps = tuple(self.steps.get(step.digest) or self._reserve(step) for step in distinct(archive))
        self.admissions += 1
        record = ArchiveRecord(archive, steps, at, self.admissions)
        record.is_shared = all(step.state is StepState.RESIDENT for step in steps)
        self.archives[archive.key] = record
        self._by_name.setdefault(archive.name, {})[archive.key] = record
        self._move(record, ArchiveMove.ADMIT)
        for step in steps:
            step.references.add(archive.key)
            self._hold(step)
        return record

    def complete(self, record: ArchiveRecord, at: float) -> None:
        """Every step is resident: the name gives leases on this content from now on, unless newer content does."""
        self._move(record, ArchiveMove.COMPLETE)
        record.load_s = at - record.admitted_at
        record.resident_since = at
        if not record.is_recalled:
            record.last_used = at
        record.is_recalled = False
        record.size_bytes = sum(step.size_bytes for step in record.steps)
        other = self.leasable.get(record.archive.name)
        if other is None or other.admission < record.admission:
            self.leasable[record.archive.name] = record

    def drain(self, record: ArchiveRecord, departure: str) -> None:
        """No new leases, until it is gone or reprieved."""
        self._move(record, ArchiveMove.DRAIN)
        self._leave(record, departure)

    def reprieve(self, record: ArchiveRecord) -> None:
        """Its room is not needed after all."""
        self._move(record, ArchiveMove.REPRIEVE)
        record.departure = ""
        self.leasable[record.archive.name] = record
        for step in record.steps:
            self._hold(step)

    def recall(self, record: ArchiveRecord, at: float) -> None:
        """Its engine was renewed: it has to be loaded again. How it was used until now still counts."""
        self._move(record, ArchiveMove.RECALL)
        record.departure = ""
        record.admitted_at = at
        record.is_recalled = True
        for step in record.steps:
            self._hold(step)

    def retire(self, record: ArchiveRecord, departure: str) -> None:
        """No new leases any more; it goes when its leases are back."""
        was_staying = not record.is_leaving
        self._move(record, ArchiveMove.RETIRE)
        if was_staying:
            self._leave(record, departure)
        record.departure = departure

    def drop(self, record: ArchiveRecord) -> None:
        """The archive is gone; its steps stay as long as others hold them."""
        if not record.is_leaving:
            self._leave(record, record.departure)
        self._move(record, ArchiveMove.DROP)
        del self._by_state[record.state][record.archive.key]
        del self.archives[record.archive.key]
        namesakes = self._by_name[record.archive.name]
        del namesakes[record.archive.key]
        if not namesakes:
            del self._by_name[record.archive.name]
        for step in record.steps:
            step.references.discard(record.archive.key)
            step.last_holder = record.archive.name

    def measure(self, record: StepRecord, measured: Footprint, at: float) -> None:
        """The load is over: charge what the step really takes."""
        predicted = self.ledger.charge_of(record.step.digest)
        self.ledger.charge(record.step.digest, measured)
        self._files_changed(record, predicted, measured)
        record.out_of_memory = 0
        record.load_s = at - record.began_at
        record.size_bytes = sum(measured.bytes_by_device.values())
        self.move(record, StepMove.FINISH)

    def stall(self, record: StepRecord) -> None:
        """The device ran out of memory although the ledger had room: ask for all of that room, and as much again."""
        free = self.ledger.free()
        charged = self.ledger.budgeted([self.ledger.charge_of(record.step.digest)])
        record.extra = {device: max(0, free[device]) + amount for device, amount in charged.items()}
        self.stalled[record.step.digest] = record
        self.move(record, StepMove.RETRY)

    def grow(self, record: StepRecord, extra: Room) -> None:
        """The room for a second try is there: charge it, until the load tells what was really taken."""
        before = self.ledger.charge_of(record.step.digest)
        charged = dict(before.bytes_by_device)
        add(charged, extra)
        self.ledger.charge(record.step.digest, Footprint(charged, mapped=before.mapped))
        record.extra = None
        self.stalled.pop(record.step.digest, None)
        self.changes += 1

    def start(self, record: StepRecord, at: float) -> None:
        """The load begins."""
        record.began_at = at
        self.move(record, StepMove.START)

    def move(self, record: StepRecord, move: StepMove) -> None:
        """Change a step's state by the table, and every index with it."""
        digest = record.step.digest
        record.move(move)
        self.planned.pop(digest, None)
        self._loading.discard(digest)
        self.may_complete = self.may_complete or record.state is StepState.RESIDENT
        if record.state is StepState.PLANNED:
            self.planned[digest] = record
        elif record.state is StepState.LOADING:
            self._loading.add(digest)
        elif record.state is StepState.ABSENT:
            self._forget(record)

    def _move(self, record: ArchiveRecord, move: ArchiveMove) -> None:
        self._by_state[record.state].pop(record.archive.key, None)
        record.move(move)
        self._by_state[record.state][record.archive.key] = record
        self.may_complete = self.may_complete or record.state is ArchiveState.LOADING

    def _reserve(self, step: Step) -> StepRecord:
        record = StepRecord(step)
        self.steps[step.digest] = record
        self.loose[step.digest] = record
        self.ledger.charge(step.digest, self.sizes.predict(step))
        for callee in step.calls.values():
            self._callers.setdefault(callee, set()).add(step.digest)
        self.changes += 1
        self.move(record, StepMove.RESERVE)
        return record

    def _forget(self, record: StepRecord) -> None:
        digest = record.step.digest
        del self.steps[digest]
        self.loose.pop(digest, None)
        self.stalled.pop(digest, None)
        charge = self.ledger.charge_of(digest)
        self.ledger.release(digest)
        self._files_changed(record, charge)
        for callee in record.step.calls.values():
            callers = self._callers[callee]
            callers.discard(digest)
            if not callers:
                del self._callers[callee]
        self.changes += 1

    def _hold(self, step: StepRecord) -> None:
        step.holders += 1
        if step.holders == 2:
            self._sharing_changed(step)
        if self.loose.pop(step.step.digest, None) is not None:
            self.on_held(step.step.digest)

    def _files_changed(self, step: StepRecord, *footprints: Footprint) -> None:
        """The step maps other files than before: that matters to whoever shares one of them with it alone."""
        mapped = self.ledger.mapped
        files = {file: mapped.sharers(file) for footprint in footprints for file in footprint.mapped}
        near = {digest for sharers in files.values() if len(sharers) <= 2 for digest in sharers}
        for each in {self.steps[digest] for digest in near if digest in self.steps} | ({step} if files else set()):
            if each.step.digest in self.steps:
                each.shared_bytes = mapped.shared_bytes(self.ledger.charge_of(each.step.digest))
                self._sharing_changed(each)

    def _sharing_changed(self, step: StepRecord) -> None:
        for sharer in self.sharers(step):
            sharer.sharing_changed()

    def _leave(self, record: ArchiveRecord, departure: str) -> None:
        record.departure = departure
        if self.leasable.get(record.archive.name) is record:
            del self.leasable[record.archive.name]
        for step in record.steps:
            step.holders -= 1
            if step.holders == 1:
                self._sharing_changed(step)
            if step.holders == 0:
                self.loose[step.step.digest] = step

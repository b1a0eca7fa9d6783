"""Leases that are kept outside of this process, for uses that are only told of afterwards.

A front-end worker keeps a lease as long as it finds use for it, so that a request need not ask for one each time. So a
lent lease is either *busy*, and counts as any other, or *quiet*: nobody uses it just now, and it comes back when it is
called. An archive all of whose leases are quiet may be chosen as idle ones are. It drains then, as a leased victim
does, and leaves when the last lease is back: what is leased is never evicted, lent or not.
"""

from server.domain.model import StagedArchive
from server.residency.planning.house import House
from server.residency.planning.records import RUN_WEIGHT, ArchiveRecord


def lend(house: House, archive: StagedArchive) -> ArchiveRecord | None:
    """Count a quiet lease if this content is resident and may give one. It is no use yet."""
    record = house.inventory.leasable.get(archive.name)
    if record is None or record.archive.version != archive.version:
        return None
    record.leases += 1
    record.quiet += 1
    return record


def used(house: House, record: ArchiveRecord, uses: int, last_used: float, mean_run_s: float) -> None:
    """Count uses that a lent lease had, the last of them at `last_used`."""
    record.uses += uses
    record.last_used = max(record.last_used, last_used)
    record.age = house.policy.age
    record.run_s += RUN_WEIGHT * (mean_run_s - record.run_s)


def rest(record: ArchiveRecord, *, is_quiet: bool) -> bool:
    """A lent lease becomes quiet, or busy again. Returns whether the archive is at rest by that."""
    record.quiet += 1 if is_quiet else -1
    return is_quiet and record.is_at_rest


def take_back(record: ArchiveRecord, *, was_quiet: bool) -> bool:
    """A lent lease is over. Returns whether the archive is at rest by that."""
    record.leases -= 1
    record.quiet -= was_quiet
    return record.is_at_rest

"""A use that could have waited is told apart from one that could not, also where both come together."""

import pytest

from server.residency.leases import Lease
from server.residency.planning.records import ArchiveRecord
from tests.fakes.source import archive

URGENT_BEFORE, NOW, LATER = 3.0, 10.0, 20.0


@pytest.fixture
def record():
    return ArchiveRecord(archive("a"), (), URGENT_BEFORE, 1)


def lease(record, at):
    """Taken at `at`; gives back at LATER."""
    record.leases += 1
    record.last_used = at

    def give_back(record):
        record.leases -= 1
        record.last_used = LATER

    return Lease(record, give_back)


def test_a_patient_use_does_not_count(record):
    patient = lease(record, NOW)
    patient.be_patient(URGENT_BEFORE)
    assert record.urgently_used_at == URGENT_BEFORE
    patient.release()
    assert record.urgently_used_at == URGENT_BEFORE


def test_two_patient_uses_at_once_do_not_count(record):
    leases = [lease(record, NOW), lease(record, NOW)]
    for each in leases:
        each.be_patient(URGENT_BEFORE)
    assert record.urgently_used_at == URGENT_BEFORE
    for each in leases:
        each.release()
    assert record.urgently_used_at == URGENT_BEFORE


def test_an_urgent_use_granted_in_the_same_moment_counts(record):
    patient, urgent = lease(record, NOW), lease(record, NOW)
    patient.be_patient(URGENT_BEFORE)
    assert record.urgently_used_at == NOW
    urgent.release()
    patient.release()
    assert record.urgently_used_at == LATER


def test_an_urgent_use_that_comes_later_counts(record):
    patient = lease(record, NOW)
    patient.be_patient(URGENT_BEFORE)
    urgent = lease(record, NOW + 1)
    patient.release()
    urgent.release()
    assert record.urgently_used_at == LATER

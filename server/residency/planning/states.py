"""The states of a step and of an archive, and the only moves between them (drawn in `planner.py`)."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from server.domain.errors import Bug


class StepState(StrEnum):
    """Where a step is. It is charged in every state but ABSENT."""

    ABSENT = "absent"
    PLANNED = "planned"
    LOADING = "loading"
    RESIDENT = "resident"
    UNLOADING = "unloading"


class StepMove(StrEnum):
    """What can happen to a step."""

    RESERVE = "reserve"
    START = "start"
    FINISH = "finish"
    RETRY = "retry"
    UNLOAD = "unload"
    FREE = "free"


class ArchiveState(StrEnum):
    """Where an archive is. Only RESIDENT ones give new leases; DRAINING and RETIRED ones are leaving."""

    ABSENT = "absent"
    LOADING = "loading"
    RESIDENT = "resident"
    DRAINING = "draining"
    RETIRED = "retired"


class ArchiveMove(StrEnum):
    """What can happen to an archive."""

    ADMIT = "admit"
    COMPLETE = "complete"
    DRAIN = "drain"
    REPRIEVE = "reprieve"
    RETIRE = "retire"
    DROP = "drop"
    RECALL = "recall"


class RenewalPhase(StrEnum):
    """Where a planned restart of the engine stands (`renewal.py`); none while it serves."""

    DRAINING = "draining"
    RESTARTING = "restarting"


_S, _A = StepState, ArchiveState

STEP_TABLE: Final[Mapping[tuple[StepState, StepMove], StepState]] = MappingProxyType(
    {
        (_S.ABSENT, StepMove.RESERVE): _S.PLANNED,
        (_S.PLANNED, StepMove.START): _S.LOADING,
        (_S.PLANNED, StepMove.FREE): _S.ABSENT,  # nobody wants it any more, and no load has begun
        (_S.LOADING, StepMove.FINISH): _S.RESIDENT,
        (_S.LOADING, StepMove.RETRY): _S.PLANNED,  # out of memory once, or the engine died
        (_S.LOADING, StepMove.FREE): _S.ABSENT,  # the load failed
        (_S.LOADING, StepMove.UNLOAD): _S.UNLOADING,  # reported lost while loading: make sure nothing is left
        (_S.RESIDENT, StepMove.RETRY): _S.PLANNED,  # lost with the engine, but wanted by an archive that is loading
        (_S.RESIDENT, StepMove.FREE): _S.ABSENT,  # lost with the engine
        (_S.RESIDENT, StepMove.UNLOAD): _S.UNLOADING,
        (_S.UNLOADING, StepMove.RETRY): _S.PLANNED,
        (_S.UNLOADING, StepMove.FREE): _S.ABSENT,
    }
)

ARCHIVE_TABLE: Final[Mapping[tuple[ArchiveState, ArchiveMove], ArchiveState]] = MappingProxyType(
    {
        (_A.ABSENT, ArchiveMove.ADMIT): _A.LOADING,
        (_A.LOADING, ArchiveMove.COMPLETE): _A.RESIDENT,
        (_A.LOADING, ArchiveMove.DROP): _A.ABSENT,  # failed, or unwanted
        (_A.RESIDENT, ArchiveMove.DRAIN): _A.DRAINING,
        (_A.RESIDENT, ArchiveMove.RETIRE): _A.RETIRED,
        (_A.RESIDENT, ArchiveMove.DROP): _A.ABSENT,  # evicted while idle, or lost
        (_A.DRAINING, ArchiveMove.REPRIEVE): _A.RESIDENT,
        (_A.DRAINING, ArchiveMove.RETIRE): _A.RETIRED,
        (_A.DRAINING, ArchiveMove.DROP): _A.ABSENT,
        (_A.DRAINING, ArchiveMove.RECALL): _A.LOADING,  # the engine was renewed
        (_A.RETIRED, ArchiveMove.DROP): _A.ABSENT,
    }
)


def step_after(state: StepState, move: StepMove) -> StepState:
    """The next state. Raises Bug for a move that the table does not have."""
    if (state, move) not in STEP_TABLE:
        raise Bug(f"a step that is {state} cannot {move}. This is a bug.")
    return STEP_TABLE[state, move]


def archive_after(state: ArchiveState, move: ArchiveMove) -> ArchiveState:
    """The next state. Raises Bug for a move that the table does not have."""
    if (state, move) not in ARCHIVE_TABLE:
        raise Bug(f"an archive that is {state} cannot {move}. This is a bug.")
    return ARCHIVE_TABLE[state, move]

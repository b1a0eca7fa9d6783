"""What can be set about residency, each with its unit and the reason for its default."""

from dataclasses import dataclass
from pathlib import Path

from server.residency.planning.terms import Tariff


@dataclass(frozen=True, slots=True)
class ResidencyOptions:
    """Settings of residency. The defaults suit one device and archives of some hundred megabytes."""

    policy: str = "lru"
    """Which archive leaves first: a name in `policies.table.POLICIES`."""
    churn_guard_s: float = 5.0
    """Seconds after its load for which an archive is no victim while another choice exists. As long as a few loads
    take, so that what was just loaded is also used."""
    max_parallel_loads: int = 2
    """Steps that the engine loads side by side. Two hide one load's disk time behind the other's set-up."""
    failure_ttl_s: float = 30.0
    """Seconds for which content that failed to load is refused at once, with its reason, instead of tried again."""
    recheck_s: float = 5.0
    """Where staging fails (store down, broken new content) what is resident serves on; seconds until staging is tried
    again."""
    lost_retries: int = 2
    """How often a load is begun again after the engine died under it."""
    retry_pause_s: float = 0.25
    """Pause before the first such retry, doubled for the next, so that an engine can come up again."""
    bytes_per_file_byte: float = 1.3
    """The guess for a step that nobody knows: its file bytes times this. Too high costs room, too low memory."""
    guessed_bytes_per_s: float = 200e6
    """The guess for how fast an unknown step loads (file bytes per second), for Retry-After."""
    footprint_file: Path | None = None
    """Where measured footprints and load times are kept over restarts; `None` keeps them in memory only."""
    footprints_of: str = ""
    """The engine and its version, as far as footprints depend on them: what another one showed is forgotten."""
    decisions_kept: int = 500
    """How many departures are kept on record with their reasons."""
    time_to_live_s: float | None = None
    """Seconds without use after which an archive that is not pinned is unloaded; `None`: only when room is needed.
    What `tariff` says goes before."""
    tariff: Tariff = Tariff()  # noqa: RUF009 - it is frozen
    """Groups, quotas, priorities and what else is said about some archives only."""
    max_waiting: int = 512
    """Requests that may wait for archives at the same time."""
    max_waiting_per_archive: float = 0.5
    """Of the places that other archives' callers leave, the share that one archive's callers may take."""
    wait_margin: float = 1.5
    """A request is refused at once when the predicted wait, learned from loads before, is so many times longer than it
    may wait. Above 1, since a prediction may be wrong and a refusal in vain is worse than a wait in vain. 0: never."""
    rush_from: int = 8
    """So many archives that wait are a rush, in which they are served base by base (`crowds.py`). More than can be
    loaded soon: of fewer the order matters little."""
    max_passes: int = 4
    """How many archives that fit at once may be loaded before one that came earlier and still waits for room."""
    spare_s: float = 5.0
    """Who can wait does not evict what urgent requests used within so many seconds."""
    max_orders: int = 2
    """Archives that are loaded at the same time though nobody waits for them, since who asked could not wait."""
    leak_alarm: float = 0.05
    """The share of a device's budget that may leak from the engine before that is told, and it may be renewed."""
    renews_engine: bool = True
    """Whether an engine that leaks is restarted, where it can be."""
    renewal_drain_s: float = 15.0
    """How long leases may take to come back before a restart, while new ones wait. Then it is put off."""
    preload_timeout_s: float = 600.0
    """How long a preload may take."""
    close_timeout_s: float = 20.0
    """How long `close` waits for leases and for the engine."""

"""What one base and one head cost on this machine, unhurried: bytes that the ledger charges, and seconds of a load."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.fleet.archives import Fleet
from benchmarks.fleet.bucket import Bucket
from benchmarks.load.open_loop import Client
from benchmarks.many_models.asking import text_body
from benchmarks.many_models.running import asked, server, unload
from benchmarks.many_models.watching import residency
from benchmarks.traffic.trace import Archive, Part

BASE_STEP: Final = "encoder"


@dataclass(frozen=True, slots=True)
class Costs:
    """Medians over a few bases. A head is all that an archive has beside its base: its graph, and the ensemble."""

    step_bytes: Mapping[str, int]
    base_load_s: float
    head_load_s: float

    @property
    def base_bytes(self) -> int:
        """What the ledger charges for an encoder."""
        return self.step_bytes[BASE_STEP]

    @property
    def head_bytes(self) -> int:
        """What it charges for all else of an archive."""
        return sum(self.step_bytes.values()) - self.base_bytes

    @property
    def archive_bytes(self) -> int:
        """A base with one head."""
        return self.base_bytes + self.head_bytes

    def document(self) -> dict[str, Any]:
        """Ready for JSON."""
        seconds = {"base_load_s": round(self.base_load_s, 5), "head_load_s": round(self.head_load_s, 5)}
        return {"step_bytes": dict(self.step_bytes), **seconds}

    def archives(self, fleet: Fleet) -> tuple[Archive, ...]:
        """The fleet for the simulator, in the order of its members."""
        bases = [Part(f"base-{base}", self.base_bytes, self.base_load_s) for base in range(fleet.bases)]
        return tuple(
            Archive(
                member.name,
                member.group,
                (bases[member.base], Part(member.name, self.head_bytes, self.head_load_s)),
            )
            for member in fleet.members
        )


async def probe(store: Bucket, scratch: Path, fleet: Fleet, timeout_s: float) -> Costs:
    """Ask two heads of each base of a small fleet, one after the other; the second finds its base resident.

    Each is asked once for its files to be on disk, unloaded, and asked again: loads are measured from unpacked disk.
    """
    full: list[float] = []
    head_only: list[float] = []
    async with server(store, scratch, ()) as (_, client):
        for base in range(fleet.bases):
            first, second = (member.name for member in fleet.members[base * fleet.heads :][:2])
            for name in (first, second):
                await _loaded_in_s(client, name, fleet, timeout_s)
            for name in (first, second):
                await unload(client, name, timeout_s)
            full.append(await _loaded_in_s(client, first, fleet, timeout_s))
            head_only.append(await _loaded_in_s(client, second, fleet, timeout_s))
        told = await residency(client)
    head_s = median(head_only)
    return Costs(_charges(told), max(0.0, median(full) - head_s), head_s)


async def _loaded_in_s(client: Client, name: str, fleet: Fleet, timeout_s: float) -> float:
    reply = await asked(client, name, text_body(fleet, 0), timeout_s)
    return float(reply.header(b"x-roundhouse-load-ms") or 0) / 1000


def _charges(told: dict[str, Any]) -> dict[str, int]:
    """Charged bytes by step name."""
    names = {step["digest"]: step["name"] for each in told["residents"] for step in each["steps"]}
    charges: dict[str, list[int]] = {}
    for step in told["steps"]:
        charges.setdefault(names[step["digest"]], []).append(sum(step["charged_bytes"].values()))
    return {name: int(median(amounts)) for name, amounts in charges.items()}

"""What has to be so when all harm has been made good: everything is served, freed when told to, and nothing is left."""

import json
from collections.abc import Sequence
from time import perf_counter, sleep
from typing import Any, Final

from benchmarks.chaos.archives import Archive
from benchmarks.chaos.clients import SURFACES, ask_once
from benchmarks.chaos.conductor import RECOVERY_S, Conductor
from benchmarks.chaos.server import Server, alive, shared_memory

EMPTY_S: Final = 60.0
MOST_TOLD: Final = 5


class Inspection:
    """Checks by name, and what was wrong."""

    def __init__(self) -> None:
        self.checks: dict[str, Any] = {}
        self.problems: list[str] = []

    def found(self, check: str, wrong: Sequence[object], fact: object = "as it should be") -> None:
        """Note one check: nothing wrong, or what."""
        self.checks[check] = list(map(str, wrong[:MOST_TOLD])) or fact
        if wrong:
            self.problems.append(f"{check}: {', '.join(map(str, wrong[:MOST_TOLD]))}")


def recovered(inspection: Inspection, server: Server, conductor: Conductor, archives: Sequence[Archive]) -> None:
    """The engine runs, and every archive is answered by its newest version on every surface."""
    began = perf_counter()
    inspection.found("engine is back", [] if conductor.await_health() else [f"not within {RECOVERY_S:g} s"])
    waiting = {(archive, surface): "never asked" for archive in archives for surface in SURFACES}
    while waiting and perf_counter() < began + 2 * RECOVERY_S:
        for archive, surface in list(waiting):
            said = ask_once(server.port, archive, surface)
            if said == conductor.version(archive):
                del waiting[archive, surface]
            else:
                waiting[archive, surface] = f"{said}, not version {conductor.version(archive)}"
        sleep(0.5 if waiting else 0)
    late = [f"{archive.name} on {surface}: {said}" for (archive, surface), said in waiting.items()]
    inspection.found(
        "every archive's newest version is served", late, f"{perf_counter() - began:.1f} s after the last harm"
    )


def empty(inspection: Inspection, server: Server) -> None:
    """Nothing is leased; all is unloaded on request; the ledger is at zero; no work file is left."""
    deadline = perf_counter() + EMPTY_S
    while (state := server.residency())["residents"] or state["loading"] or state["leaving"] or state["steps"]:
        leased = [each["archive"] for each in state["residents"] if each["leases"]]
        for each in state["residents"]:
            server.unload(each["archive"])
        if perf_counter() > deadline:
            break
        sleep(0.2)
    else:
        leased = []
    charged = {name: device["charged_bytes"] for name, device in state["devices"].items() if device["charged_bytes"]}
    inspection.found("no lease is out", leased)
    inspection.found("the ledger is at zero", [charged] if charged else [])
    inspection.found("no step is left", [step["digest"][:12] for step in state["steps"]])
    inspection.found("no file in the work folders", server.work_files())


def leavings(inspection: Inspection, server: Server) -> None:
    """It leaves with 0; no process, shared memory or run folder of it is left; nothing unexpected is in its log."""
    server.look_below()
    code = server.stop()
    inspection.found("it leaves with 0 on SIGTERM", [] if code == 0 else [code])
    deadline = perf_counter() + 5
    while (left := alive(server.seen.values())) and perf_counter() < deadline:
        sleep(0.1)
    inspection.found("no process is left", left, f"{len(server.seen)} had been there")
    segments = sorted(server.segments_seen & shared_memory())
    inspection.found("no shared memory is left", segments, f"{len(server.segments_seen)} had been there")
    inspection.found("no run folder is left", [path.name for path in (server.cache / "triton").glob("triton-*")])
    inspection.found("no traceback in its log", _tracebacks(server))


def _tracebacks(server: Server) -> list[str]:
    found = []
    for line in server.log.read_text(errors="replace").splitlines():
        if line.startswith("Traceback"):
            found.append(line)
        elif '"traceback"' in line:
            said = json.loads(line)
            found.append(f"{said['message'][:200]} | {said['traceback'].splitlines()[-1][:200]}")
    return found

"""Compares what is charged with what the engine really holds: soon after each load and unload, and now and then.

The engine is asked to measure itself at a moment at which nothing is loaded or unloaded. So both figures are exact: no
step is half there. The comparison is shown, and watched for a leak (`leak.py`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from server.domain.clock import Clock
from server.domain.model import Device, StepDigest
from server.domain.sighting import Sighting
from server.residency.memory.baseline import Baseline
from server.residency.memory.leak import LeakWatch, Observation
from server.residency.observer import ResidencyObserver
from server.residency.planning.house import House
from server.residency.planning.ledger import Ledger, Room, add

_log = logging.getLogger(__name__)
SETTLE_S: Final = 0.5
"""Loads come in flocks, and are held up for ten milliseconds by each look: one look for all of them."""
TRIES: Final = 8
"""Triton takes a second or two for an unload, and cannot be measured meanwhile."""
LEAST_LEAK_BYTES: Final = 16 << 20
"""Below that it is the allocator."""
MIB: Final = 1 << 20


class MemoryWatch:
    """Looks, remembers, alarms. Lives on one event loop."""

    def __init__(
        self,
        observe: Callable[[], Awaitable[Sighting | None]],
        house: House,
        clock: Clock,
        observer: ResidencyObserver,
        leak_alarm: float,
        on_leak: Callable[[], None],
    ) -> None:
        """`leak_alarm`: the share of a device's budget that may leak before `on_leak` is called, once per leak."""
        self._observe = observe
        self._house = house
        self._clock = clock
        self._observer = observer
        self._leak_alarm = leak_alarm
        self._on_leak = on_leak
        self._watches: dict[Device, LeakWatch] = {}
        self._overhead: dict[Device, int] = {}
        self._baselines: dict[Device, Baseline] = {}
        self._looking: asyncio.Task[None] | None = None

    def look_soon(self) -> None:
        """Something was loaded or unloaded."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_once(), name="compare the ledger with the memory")
            self._looking.add_done_callback(self._looked)

    async def look(self) -> bool:
        """Compare now, as soon as nothing is loaded or unloaded; returns whether that worked. Raises nothing."""
        try:
            sighting = await self._observe()
        except Exception:
            _log.exception("what the engine holds could not be measured")
            return False
        return sighting is not None and self.compare(sighting)

    def compare(self, sighting: Sighting) -> bool:
        """Take a measurement into the books; returns whether it fits to them."""
        if not self._house.inventory.steps.keys() >= sighting.steps:
            return False  # some of it left while it was measured
        expected = self._expected(sighting.steps)
        now = self._clock.now()
        for device, held in sighting.held.items():
            overhead = sighting.overhead.get(device, 0)
            seen = Observation(now, expected.get(device, 0), held - overhead, sighting.is_disturbed)
            is_leaking = self._add(device, seen)
            baseline = self._baselines.setdefault(device, Baseline())
            baseline.add(seen, overhead, is_leaking=is_leaking)
            self._overhead[device] = overhead + baseline.shift_bytes
            observed = seen.observed_bytes - baseline.shift_bytes
            self._observer.observed(device, seen.expected_bytes, observed, is_leaking)
        return True

    def forget(self) -> None:
        """The engine is a new one."""
        self._watches.clear()
        self._overhead.clear()
        self._baselines.clear()

    def facts(self) -> dict[Device, dict[str, Any]]:
        """The last comparison of each device, and the ones before it in short. JSON-ready."""
        now = self._clock.now()
        return {device: self._facts(device, watch, now) for device, watch in self._watches.items()}

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})

    def _expected(self, digests: frozenset[StepDigest]) -> Room:
        """What these steps are charged with together; weight files that several of them map count once."""
        ledger = self._house.inventory.ledger
        others = [ledger.charge_of(digest) for digest in self._house.inventory.steps if digest not in digests]
        if not any(other.mapped for other in others):
            expected = dict(ledger.charged())
            for other in others:
                add(expected, dict(other.bytes_by_device), sign=-1)
            return expected
        together = Ledger(ledger.budgets)
        for digest in digests:
            together.charge(digest, ledger.charge_of(digest))
        return dict(together.charged())

    def _facts(self, device: Device, watch: LeakWatch, now: float) -> dict[str, Any]:
        last, shift = watch.recent[-1], self._baselines[device].shift_bytes
        return {
            "expected_bytes": last.expected_bytes,
            "observed_bytes": last.observed_bytes - shift,
            "drift_bytes": last.drift_bytes - shift,
            "observed_s_ago": round(now - last.at, 3),
            "overhead_bytes": self._overhead[device],
            "leaked_bytes": watch.leaked_bytes,
            "is_leaking": watch.is_leaking,
            "observations": [
                {
                    "s_ago": round(now - each.at, 3),
                    "expected_bytes": each.expected_bytes,
                    "observed_bytes": each.observed_bytes - shift,
                    "is_disturbed": each.is_disturbed,
                }
                for each in reversed(watch.recent)
            ],
        }

    def _add(self, device: Device, seen: Observation) -> bool:
        """Returns whether the device's engine leaks."""
        watch = self._watches.get(device)
        if watch is None:
            budget = self._house.inventory.ledger.budgets.get(device, 0)
            watch = self._watches[device] = LeakWatch(max(LEAST_LEAK_BYTES, int(self._leak_alarm * budget)))
        if watch.add(seen):
            _log.warning(
                "the engine leaks memory on %s: %d MiB that no step explains, %d MiB in all beyond what is charged",
                device,
                watch.leaked_bytes // MIB,
                seen.drift_bytes // MIB,
            )
            self._on_leak()
        return watch.is_leaking

    async def _look_once(self) -> None:
        for _ in range(TRIES):
            await asyncio.sleep(SETTLE_S)
            if await self.look():
                break

    def _looked(self, looking: asyncio.Task[None]) -> None:
        if self._looking is looking:
            self._looking = None

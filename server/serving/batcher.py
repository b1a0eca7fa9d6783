"""Whole-ensemble batching: requests for one entry model run together, above the engine port.

Triton batches per step and only equal shapes; here what waits is merged before the first step and split after the last
(`batch_rules.py` says for which archives), so that both engines gain. Archives whose requests run apart go to the
engine as if this file were not there.

Each archive has a line of its own and a few executions at a time (`side_by_side`), whose cores and instances the engine
deals out first come, first served: so the backlog of one archive delays another's request by what is under way, and not
by what waits.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial

from server.domain.clock import Clock
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import StagedArchive, StepDigest
from server.domain.ports import Engine
from server.serving.batch_line import BatchLine, BatchLog
from server.serving.batch_reading import read_rules
from server.serving.batch_rules import BatchRules, may_batch


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How much is merged."""

    side_by_side: int = 2
    """Executions of one archive at the same time. On a CPU one more than the engine runs at once, which is one more
    than cores: its texts become tokens meanwhile. Elsewhere one that runs and one that is on its way."""
    self_batching: frozenset[str] = frozenset()
    """Backends whose single models the engine batches itself."""
    remembered: int = 4096
    """Entry models whose files are not read again; each takes some hundred bytes."""


class Batcher:
    """Stands where `Engine.infer` stood. Lives on one event loop."""

    def __init__(self, engine: Engine, clock: Clock, log: BatchLog, options: BatchOptions) -> None:
        self._engine = engine
        self._clock = clock
        self._log = log
        self._options = options
        self._lines: dict[StepDigest, BatchLine | None] = {}
        self._reading = asyncio.Lock()

    def infer(self, archive: StagedArchive, request: InferenceRequest) -> Awaitable[InferenceResponse]:
        """Run a request of a resident archive, with others where that is right.

        Raises:
            Overloaded, DeadlineExceeded: the model's queue policy says so.
            And all that `Engine.infer` raises.
        """
        try:
            line = self._lines[archive.entry]
        except KeyError:
            return self._first(archive, request)
        if line is None:
            return self._engine.infer(archive.entry, request)
        return line.join(request)

    def lets_pass(self, archive: StagedArchive) -> bool:
        """Whether a request would run alone and now, so that whoever can may run it without coming here."""
        if archive.entry not in self._lines:
            return False
        line = self._lines[archive.entry]
        return line is None or line.lets_pass

    def runs_apart(self, archive: StagedArchive) -> bool:
        """Whether it is known that requests of this archive are never merged here."""
        return archive.entry in self._lines and self._lines[archive.entry] is None

    def ran_alone(self, archive: StagedArchive, request: InferenceRequest) -> None:
        """Note a request that was run so."""
        line = self._lines.get(archive.entry)
        if line is not None:
            line.ran_alone(request)

    async def _first(self, archive: StagedArchive, request: InferenceRequest) -> InferenceResponse:
        """The first request of an entry model: look at its files."""
        async with self._reading:
            if archive.entry not in self._lines:
                await self._read(archive)
        return await self.infer(archive, request)

    async def _read(self, archive: StagedArchive) -> None:
        line = None
        if may_batch(archive.signature):
            rules = await asyncio.to_thread(read_rules, archive, self._options.self_batching)
            line = self._line(archive.entry, rules) if rules is not None else None
        if len(self._lines) >= self._options.remembered:
            self._forget()
        self._lines[archive.entry] = line

    def _line(self, entry: StepDigest, rules: BatchRules) -> BatchLine:
        infer = partial(self._engine.infer, entry)
        return BatchLine(rules, infer, self._options.side_by_side, self._clock, self._log)

    def _forget(self) -> None:
        """Forget the entry models that were met first, but for those that are at work."""
        idle = [digest for digest, line in self._lines.items() if line is None or line.is_idle]
        for digest in idle[: self._options.remembered // 4]:
            del self._lines[digest]

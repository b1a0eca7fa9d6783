"""`dynamic_batching`: when an instance of a step becomes free, it takes all waiting requests in one execution.

While the instances are busy, requests gather here; the next free instance gets as many from the front of the line as
fit together (`batch_rules.py`). An idle step thus answers at once, and a busy one in ever larger batches. Coroutines
(entry requests) and threads (ensemble steps, BLS calls) stand in one line, and each gets its own request's outcome.

The line stands only once in the line for instances, however long it is: the batch that is granted an instance takes
what it can, and asks again if somebody is left.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from server.domain.clock import Clock
from server.domain.errors import RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse
from server.engines.embedded.running.batch_rules import BatchRules
from server.engines.embedded.running.instances import Instances
from server.engines.embedded.running.workers import Workers

Outcome: TypeAlias = InferenceResponse | RoundhouseError
ExecuteAll: TypeAlias = Callable[[Sequence[InferenceRequest]], Sequence[Outcome]]
"""Runs requests as one batch: one outcome each, in their order. The caller holds an instance."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    request: InferenceRequest
    arrived: float
    done: "Future[InferenceResponse]" = field(default_factory=Future)


class DynamicBatches:
    """The line in front of one step."""

    def __init__(
        self, rules: BatchRules, instances: Instances, workers: Workers, execute_all: ExecuteAll, clock: Clock
    ) -> None:
        self._rules: Final = rules
        self._instances: Final = instances
        self._workers: Final = workers
        self._execute_all: Final = execute_all
        self._clock: Final = clock
        self._line: list[_Waiting] = []
        self._changed = threading.Condition()
        self._is_asking = False

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Run an admitted request; cancelled while it waits, it leaves the line. Raises as the step does."""
        return await asyncio.wrap_future(self._join(request))

    def run(self, request: InferenceRequest) -> InferenceResponse:
        """Run an admitted request: here, where an instance is idle and nobody waits, else as a part of a batch.

        Raises as the step does.
        """
        if self._rules.max_delay_s > 0 or self._line or not self._instances.take_now():
            return self._join(request).result()
        try:
            (outcome,) = self._outcomes([request])
        finally:
            self._instances.give()
        if isinstance(outcome, InferenceResponse):
            return outcome
        raise outcome

    def _join(self, request: InferenceRequest) -> "Future[InferenceResponse]":
        waiting = _Waiting(request, self._clock.now())
        with self._changed:
            self._line.append(waiting)
            self._changed.notify_all()  # a batch that waits to become full may be full now
            is_asking, self._is_asking = self._is_asking, True
        if not is_asking:
            self._instances.when_free(self._begin)
        return waiting.done

    def _begin(self) -> None:
        """An instance was granted."""
        self._workers.submit(self._run)

    def _run(self) -> None:
        batch = self._take()
        try:
            outcomes = self._outcomes([waiting.request for waiting in batch])
        finally:
            self._instances.give()
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, InferenceResponse):
                waiting.done.set_result(outcome)
            else:
                waiting.done.set_exception(outcome)

    def _outcomes(self, requests: Sequence[InferenceRequest]) -> Sequence[InferenceResponse | BaseException]:
        if not requests:
            return ()
        try:
            return self._execute_all(requests)
        except BaseException as error:  # nobody may be left waiting
            return [error] * len(requests)

    def _take(self) -> list[_Waiting]:
        """The next batch, without those that were cancelled meanwhile; asks again for those that are left."""
        with self._changed:
            self._await_more()
            count = self._rules.fitting([waiting.request for waiting in self._line])
            batch, self._line = self._line[:count], self._line[count:]
            is_asking = self._is_asking = bool(self._line)
        if is_asking:
            self._instances.when_free(self._begin)
        return [waiting for waiting in batch if waiting.done.set_running_or_notify_cancel()]

    def _await_more(self) -> None:
        """Wait until the batch is full, or its oldest request has waited as long as the config allows."""
        if self._rules.max_delay_s > 0:
            left_s = self._line[0].arrived + self._rules.max_delay_s - self._clock.now()
            if left_s > 0:
                self._changed.wait_for(self._is_full, left_s)

    def _is_full(self) -> bool:
        return self._rules.is_full([waiting.request for waiting in self._line])

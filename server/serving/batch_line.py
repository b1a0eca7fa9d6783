"""The requests that wait for one entry model, and the batches of it that run.

A request that finds the model idle goes at once, in the caller's own task: no delay, no hop. While as many executions
run as can run side by side, requests gather here; whenever one ends, the next batch is chosen (`batch_plan.py`).

A batch that fails for what one of its requests may have brought is taken apart: its requests go back into the line and
run alone, so that only those fail that fail by themselves. Who is cancelled leaves the line or, once it runs, its place
in the batch; the batch ends when nobody waits for it any more. Lives on one event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from server.domain.clock import Clock
from server.domain.errors import DeadlineExceeded, DeviceFull, InferenceFailed, InvalidRequest, Overloaded
from server.domain.inference import InferenceRequest, InferenceResponse
from server.serving.batch_merge import kind_of, length_of, merged, rows_of, split
from server.serving.batch_plan import Candidate, next_batch
from server.serving.batch_rules import BatchRules

Infer: TypeAlias = Callable[[InferenceRequest], Awaitable[InferenceResponse]]

_ONE_MAY_HAVE_CAUSED: Final = (InvalidRequest, InferenceFailed, DeviceFull)
_DELAYED: Final = 1 << 32  # behind every priority: those are 32 bits
_MICROSECONDS: Final = 1e-6
_NOT_WAITED: Final = (0.0,)


class BatchLog(Protocol):
    """Who wants to know of every batch (the metrics)."""

    def ran(self, rows: int, waited_s: Sequence[float]) -> None:
        """Note an execution of `rows` rows, for requests that waited so long in line. Seconds."""
        ...


@dataclass(slots=True, eq=False)
class _Running:
    """A batch, and how many of its members still wait for it."""

    members: int
    has_begun: bool = False
    task: "asyncio.Task[None] | None" = None

    def leave(self) -> None:
        """One member less; without any the batch ends."""
        self.members -= 1
        if not self.members and self.task is not None:
            self.task.cancel()


@dataclass(slots=True, eq=False)
class _Waiting(Candidate):
    request: InferenceRequest
    priority: int
    done: "asyncio.Future[InferenceResponse]"
    expiry: asyncio.TimerHandle | None = None
    batch: _Running | None = None

    def stop_waiting(self) -> None:
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None


class BatchLine:
    """One entry model's line."""

    def __init__(self, rules: BatchRules, infer: Infer, width: int, clock: Clock, log: BatchLog) -> None:
        """`width`: how many executions may run side by side."""
        self._rules: Final = rules
        self._infer: Final = infer
        self._width: Final = width
        self._clock: Final = clock
        self._log: Final = log
        self._line: list[_Waiting] = []
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None
        self._can_merge = True

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits and nothing runs."""
        return not self._running and not self._line

    @property
    def waiting(self) -> int:
        """Requests in line."""
        return len(self._line)

    @property
    def lets_pass(self) -> bool:
        """Whether a request would run alone and now."""
        return self._running < self._width and not self._line and not self._rules.max_delay_s

    def ran_alone(self, request: InferenceRequest) -> None:
        """Note a request that somebody else ran while the line let it pass."""
        self._log.ran(rows_of(request), _NOT_WAITED)

    def join(self, request: InferenceRequest) -> Awaitable[InferenceResponse]:
        """Run a request, with others or alone.

        Raises:
            Overloaded: the model's queue policy lets no more wait (at once).
            DeadlineExceeded: it waited for longer than the queue policy allows.
            And, awaited, all that `Engine.infer` raises.
        """
        if self.lets_pass:
            return self._at_once(request)
        return self._in_line(self._queued(request))

    async def _at_once(self, request: InferenceRequest) -> InferenceResponse:
        self._running += 1
        try:
            self.ran_alone(request)
            return await self._infer(request)
        finally:
            self._ended()

    def _queued(self, request: InferenceRequest) -> _Waiting:
        rules, loop = self._rules, asyncio.get_running_loop()
        priority = rules.priority(request.parameters.get("priority"))
        policy = rules.policy_of(priority)
        if policy.max_waiting and sum(each.priority == priority for each in self._line) >= policy.max_waiting:
            raise Overloaded(policy.max_waiting, what="requests wait for this model")
        rows = rows_of(request)
        waiting = _Waiting(
            arrived=self._clock.now(),
            rank=priority,
            rows=rows,
            length=length_of(request) if rules.is_text else 0,
            kind=kind_of(request),
            is_alone=not (self._can_merge and 0 < rows < rules.max_rows),
            request=request,
            priority=priority,
            done=loop.create_future(),
        )
        asked = request.parameters.get("timeout", 0)
        timeout_s = policy.timeout_of(asked * _MICROSECONDS if isinstance(asked, int) else 0.0)
        if timeout_s:
            expire = self._delay if policy.is_delayed else self._refuse
            waiting.expiry = loop.call_later(timeout_s, expire, waiting, timeout_s)
        self._line.append(waiting)
        self._start()  # it may be what a batch has waited for
        return waiting

    async def _in_line(self, waiting: _Waiting) -> InferenceResponse:
        try:
            return await waiting.done
        except asyncio.CancelledError:
            self._leave(waiting)
            raise
        finally:
            waiting.stop_waiting()

    def _leave(self, waiting: _Waiting) -> None:
        if waiting in self._line:
            self._line.remove(waiting)
        elif waiting.batch is not None:
            waiting.batch.leave()

    def _refuse(self, waiting: _Waiting, timeout_s: float) -> None:
        if waiting in self._line and not waiting.done.done():
            self._line.remove(waiting)
            waiting.done.set_exception(DeadlineExceeded(timeout_s))

    def _delay(self, waiting: _Waiting, _timeout_s: float) -> None:
        waiting.rank = _DELAYED + waiting.priority

    def _start(self) -> None:
        """Start as many batches as may run now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._line and self._running < self._width:
            planned = next_batch(self._line, self._rules, self._clock.now())
            if not planned.chosen:
                self._timer = asyncio.get_running_loop().call_later(planned.wait_s, self._start)
                return
            self._run([self._line[index] for index in planned.chosen])

    def _run(self, members: list[_Waiting]) -> None:
        now = self._clock.now()
        for waiting in members:
            self._line.remove(waiting)
            waiting.stop_waiting()
        self._running += 1
        self._log.ran(sum(each.rows for each in members), [now - each.arrived for each in members])
        batch = _Running(len(members))
        for waiting in members:
            waiting.batch = batch
        batch.task = asyncio.get_running_loop().create_task(self._infer_all(batch, members))
        batch.task.add_done_callback(lambda _: None if batch.has_begun else self._ended())

    async def _infer_all(self, batch: _Running, members: Sequence[_Waiting]) -> None:
        """Run a batch and tell its members. Only cancellation leaves this; then nobody is left to be told."""
        batch.has_begun = True
        answers: Sequence[InferenceResponse] = ()
        try:
            response = await self._infer(merged([each.request for each in members]))
            answers = self._split(response, members)
        except _ONE_MAY_HAVE_CAUSED as error:
            self._fail(members, error) if len(members) == 1 else self._take_apart(members)
        except Exception as error:
            self._fail(members, error)
        finally:
            self._ended()  # the next batch first: writing these answers takes a while
        for waiting, answer in zip(members, answers, strict=False):
            if not waiting.done.done():
                waiting.done.set_result(answer)

    def _ended(self) -> None:
        self._running -= 1
        if self._line:
            self._start()

    def _split(self, response: InferenceResponse, members: Sequence[_Waiting]) -> Sequence[InferenceResponse]:
        answers = split(response, [each.rows for each in members])
        if answers is None:
            self._can_merge = False
            self._take_apart(members)
        return answers or ()

    def _fail(self, members: Sequence[_Waiting], error: Exception) -> None:
        for waiting in members:
            if not waiting.done.done():
                waiting.done.set_exception(error)

    def _take_apart(self, members: Sequence[_Waiting]) -> None:
        """Let each run alone, before all others."""
        again = [waiting for waiting in members if not waiting.done.done()]
        for waiting in again:
            waiting.batch, waiting.is_alone = None, True
        self._line[:0] = again

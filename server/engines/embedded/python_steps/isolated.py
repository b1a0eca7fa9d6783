"""The host for all other steps: a worker process per instance, restarted when it dies."""

import contextlib
import logging
from collections.abc import Generator, Sequence
from typing import Final

from server.domain.clock import Clock
from server.domain.errors import EngineLost, InferenceFailed, LoadFailed, RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse
from server.engines.embedded.python_steps.call_desk import CallDesk
from server.engines.embedded.python_steps.launch import Launch
from server.engines.embedded.python_steps.questions import (
    answer_in,
    failure_in,
    outcome_in,
    question_head,
    questions_frame,
)
from server.engines.embedded.python_steps.requests import Caller
from server.engines.embedded.python_steps.wire import ConnectionLost, Frame
from server.engines.embedded.python_steps.worker_process import Spawner, WorkerProcess
from server.engines.process_memory import mapped_below

_log = logging.getLogger(__name__)
_CANCEL_GRACE_S: Final = 5.0
_FINALIZE_GRACE_S: Final = 5.0
_BACK_OFF_S: Final = 0.5
_BACK_OFF_LIMIT_S: Final = 30.0


class IsolatedInstance:
    """One model object in a process of its own.

    The first restart after a death is immediate; if it dies again without an answer in between, the next one waits
    0.5 s, 1 s, ... up to 30 s, and requests that come earlier fail at once.
    """

    def __init__(self, launch: Launch, caller: Caller, spawner: Spawner, clock: Clock, load_timeout_s: float) -> None:
        """Start the process, without waiting until its model is loaded: `finish_loading` does. Raises LoadFailed."""
        self._launch = launch
        self._caller = caller
        self._spawner = spawner
        self._clock = clock
        self._load_timeout_s = load_timeout_s
        self._deaths = 0
        self._restart_at = 0.0
        self._last_words = ""
        self._worker = self._start()
        self._is_loaded = False
        self._is_closed = False

    def _start(self) -> WorkerProcess:
        try:
            worker = WorkerProcess(self._launch.name, self._spawner, self._clock)
        except OSError as error:
            raise LoadFailed(
                f"step {self._launch.name!r}: its worker process cannot start: {error.strerror}"
            ) from error
        # Where it died already, finish_loading tells.
        with contextlib.suppress(ConnectionLost):
            worker.connection.send("load", {"launch": self._launch.to_json()})
        return worker

    def finish_loading(self) -> None:
        """Wait until the model is loaded.

        Raises:
            LoadFailed: it refused, hung or died.
            EngineLost: somebody killed its process, which says nothing about the model. It is gone in either case.
        """
        worker = self._worker
        worker.connection.limit(self._load_timeout_s)
        desk = CallDesk(worker.connection, self._caller)
        try:
            with desk:
                frame = desk.receive()
            worker.connection.limit(None)
        except TimeoutError:
            worker.end()
            raise LoadFailed(
                f"step {self._launch.name!r}: initialize did not end within {self._load_timeout_s:g} s"
            ) from None
        except ConnectionLost:
            how = worker.end(_FINALIZE_GRACE_S)
            kind = EngineLost if worker.was_killed else LoadFailed
            raise kind(f"step {self._launch.name!r}: its worker process {how} while it loaded") from None
        except BaseException:
            worker.end()
            raise
        if frame.kind != "ready":
            worker.end()
            raise LoadFailed(frame.head["error"])
        self._is_loaded = True

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run one request of a model that is not decoupled."""
        with contextlib.closing(self.stream(request)) as answers:
            for answer in answers:
                return answer
        raise InferenceFailed(f"step {self._launch.name!r} gave no response")

    def execute_all(self, requests: Sequence[InferenceRequest]) -> list[InferenceResponse | RoundhouseError]:
        """Run a batch of a model that is not decoupled, in one exchange with the worker.

        Where the worker dies of it, each request is tried again by itself, so that one cannot take the others along.
        """
        if len(requests) > 1:
            with contextlib.suppress(InferenceFailed):
                return self._together(requests)
        return [self._alone(request) for request in requests]

    def _together(self, requests: Sequence[InferenceRequest]) -> list[InferenceResponse | RoundhouseError]:
        worker = self._ready_worker()
        try:
            with CallDesk(worker.connection, self._caller) as desk:
                worker.connection.send("ask-all", *questions_frame(requests))
                outcomes = [outcome_in(desk.receive()) for _ in requests]
        except ConnectionLost:
            failure = self._died(worker)
            self._deaths = 0  # nobody knows yet whose fault it is: the others must not wait for a restart
            raise failure from None
        except BaseException:
            self._note_death(worker.end())  # it still answers a batch that nobody waits for
            raise
        self._deaths = 0
        return outcomes

    def _alone(self, request: InferenceRequest) -> InferenceResponse | RoundhouseError:
        try:
            return self.execute(request)
        except RoundhouseError as error:
            return error

    def stream(self, request: InferenceRequest) -> Generator[InferenceResponse, None, None]:
        """Run one request; closing the iterator cancels, and kills a model that does not listen within seconds."""
        worker = self._ready_worker()
        desk = CallDesk(worker.connection, self._caller)
        is_over = False
        try:
            with desk:
                worker.connection.send("ask", question_head(request), request.inputs.values())
                while not is_over:
                    frame = desk.receive()
                    is_over = _is_last(frame)
                    self._deaths = 0
                    if frame.kind == "failed":
                        raise failure_in(frame)
                    if frame.kind == "answer":
                        yield answer_in(frame)
        except ConnectionLost:
            is_over = True
            raise self._died(worker) from None
        finally:
            if not is_over:
                self._cancel(worker)

    def _ready_worker(self) -> WorkerProcess:
        """The worker, started anew where it has died."""
        if self._is_closed:
            raise InferenceFailed(f"step {self._launch.name!r} has been unloaded")
        if self._is_loaded and not self._worker.is_alive():
            self._note_death(self._worker.end())
        if self._is_loaded:
            return self._worker
        wait_s = self._restart_at - self._clock.now()
        if wait_s > 0:
            raise InferenceFailed(f"{self._last_words}; it is started again in {wait_s:.1f} s")
        try:
            self._worker = self._start()
            self.finish_loading()
        except (LoadFailed, EngineLost) as error:
            self._note_death("could not be started again")
            raise InferenceFailed(str(error)) from error
        return self._worker

    def _died(self, worker: WorkerProcess) -> InferenceFailed:
        self._note_death(worker.end(_FINALIZE_GRACE_S))
        return InferenceFailed(self._last_words)

    def _note_death(self, how: str) -> None:
        self._is_loaded = False
        self._last_words = f"step {self._launch.name!r}: its worker process {how}"
        _log.error("%s", self._last_words)
        wait_s = min(_BACK_OFF_S * 2 ** (self._deaths - 1), _BACK_OFF_LIMIT_S) if self._deaths else 0.0
        self._deaths = min(self._deaths + 1, 16)
        self._restart_at = self._clock.now() + wait_s

    def _cancel(self, worker: WorkerProcess) -> None:
        """Tell the model that nobody waits, and take what it still sends."""
        connection = worker.connection
        try:
            connection.limit(_CANCEL_GRACE_S)
            connection.send("cancel")
            with CallDesk(connection, self._caller) as desk:
                while not _is_last(desk.receive()):
                    pass
            connection.limit(None)
        except (ConnectionLost, TimeoutError):
            self._note_death(worker.end())

    def outside_bytes(self) -> int:
        """The worker's memory, and what it maps of the step's own files."""
        if not self._is_loaded:
            return 0
        return self._worker.memory_bytes() + mapped_below([self._launch.directory], self._worker.pid)

    def close(self) -> None:
        """Let the model finalise, and end its process."""
        self._is_closed = True
        if self._is_loaded:
            with contextlib.suppress(ConnectionLost):
                self._worker.connection.send("finalize")
        self._worker.end(_FINALIZE_GRACE_S if self._is_loaded else 0.0)


def _is_last(frame: Frame) -> bool:
    """Whether the frame ends a request."""
    return frame.kind in {"done", "failed"} or bool(frame.head.get("is_last"))

"""Serves the calls that a worker makes of other models while one request of its own is under way."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

from server.domain.errors import Bug, RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse
from server.engines.embedded.python_steps.questions import answer_head, failure_head, question_in
from server.engines.embedded.python_steps.requests import Caller
from server.engines.embedded.python_steps.wire import Connection, ConnectionLost, Frame

_CONCURRENT_CALLS: Final = 8
_KINDS: Final = frozenset({"call", "next", "drop"})


class CallDesk:
    """Receives a worker's frames, and answers those that are calls.

    Results go out only when the worker asks for them, so neither side can block the other by writing.
    A block around its use ends what is still running.
    """

    def __init__(self, connection: Connection, caller: Caller) -> None:
        self._connection = connection
        self._caller = caller
        self._streams: dict[int, Iterator[InferenceResponse]] = {}
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in self._streams.values():
            _close(stream)
        if self._threads is not None:
            self._threads.shutdown()

    def receive(self) -> Frame:
        """The next frame that is not a call. Raises ConnectionLost, TimeoutError."""
        while (frame := self._connection.receive()).kind in _KINDS:
            if frame.kind == "call" and frame.head["mode"] == "concurrent":
                if self._threads is None:
                    self._threads = ThreadPoolExecutor(_CONCURRENT_CALLS, "python-step-call")
                self._threads.submit(self._serve_apart, frame)
            else:
                self._serve(frame)
        return frame

    def _serve_apart(self, frame: Frame) -> None:
        with contextlib.suppress(ConnectionLost):  # the thread that receives sees it too
            self._serve(frame)

    def _serve(self, frame: Frame) -> None:
        number = frame.head["call"]
        try:
            answer = self._answer(frame, number)
        except Exception as error:
            # An error that is not of our tree is a bug of the engine's; the model gets its kind, not its text.
            if not isinstance(error, RoundhouseError):
                error = Bug(f"internal error: {type(error).__name__}")
            self._result(number, failure_head(error))
            return
        if answer is not None:
            self._connection.send("result", {"call": number, **answer_head(answer)}, answer.outputs)
        elif frame.kind == "next":
            self._result(number, {"end": True})

    def _answer(self, frame: Frame, number: int) -> InferenceResponse | None:
        """Do what the frame asks; None where there is nothing to tell (any more)."""
        if frame.kind == "call":
            model, question = frame.head["model"], question_in(frame)
            if frame.head["mode"] == "stream":
                self._streams[number] = self._caller.stream(model, question)
                return None
            return self._run(model, question, is_concurrent=frame.head["mode"] == "concurrent")
        if frame.kind == "next":
            return next(self._streams[number], None) if number in self._streams else None
        _close(self._streams.pop(number, iter(())))
        return None

    def _run(self, model: str, question: InferenceRequest, *, is_concurrent: bool) -> InferenceResponse:
        return self._caller.run(model, question, is_concurrent=is_concurrent)

    def _result(self, number: int, head: dict[str, Any]) -> None:
        self._connection.send("result", {"call": number, **head})


def _close(stream: Iterator[InferenceResponse]) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()

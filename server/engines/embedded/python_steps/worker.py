"""The worker process: `python -m server.engines.embedded.python_steps.worker DESCRIPTOR PARENT`.

Loads one model and serves the requests that come over the socket, one at a time, on the main thread. Imports numpy
and the standard library only. Ends when its parent does.
"""

import contextlib
import ctypes
import importlib
import itertools
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final, NoReturn

from server.domain.errors import RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse
from server.engines.embedded.python_steps.launch import Launch
from server.engines.embedded.python_steps.output_log import marked
from server.engines.embedded.python_steps.questions import (
    answer_head,
    answer_in,
    failure_head,
    failure_in,
    question_head,
    question_in,
    questions_in,
)
from server.engines.embedded.python_steps.step_model import StepModel, complete_config
from server.engines.embedded.python_steps.utils_module import UTILS_NAME, make_utils
from server.engines.embedded.python_steps.wire import Connection, ConnectionLost, Frame

_PR_SET_PDEATHSIG: Final = 1
_WORK: Final = 0


class Exchange:
    """The worker's side of the connection, shared by all threads of the model.

    Whoever waits for a frame reads the socket, and files what is for others: no thread is spent on reading.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._filed: dict[int, list[Frame]] = {}
        self._changed = threading.Condition()
        self._is_reading = False
        self._is_cancelled = False
        self.send = connection.send

    def take(self, number: int) -> Frame:
        """The next frame for a call, or with `_WORK` the next piece of work. Raises ConnectionLost."""
        while True:
            with self._changed:
                if self._filed.get(number):
                    return self._filed[number].pop(0)
                if self._is_reading:
                    self._changed.wait()
                    continue
                self._is_reading = True
            self._read()

    def _read(self) -> None:
        """Read one frame and file it; the caller has set `_is_reading`."""
        frame: Frame | None = None
        try:
            frame = self._connection.receive()
        finally:
            with self._changed:
                self._is_reading = False
                if frame is not None:
                    self._file(frame)
                self._changed.notify_all()

    def _file(self, frame: Frame) -> None:
        if frame.kind == "cancel":
            self._is_cancelled = True
        else:
            self._filed.setdefault(frame.head.get("call", _WORK), []).append(frame)

    def is_cancelled(self) -> bool:
        """Whether the caller of the request under way has lost interest."""
        with self._changed:
            if self._is_cancelled or self._is_reading or not self._connection.has_frame():
                return self._is_cancelled
            self._is_reading = True
        self._read()
        return self._is_cancelled

    def begin(self) -> None:
        """A new request: nobody has cancelled it."""
        self._is_cancelled = False

    def new_number(self) -> int:
        """A number for a call."""
        return next(self._numbers)

    def forget(self, number: int) -> None:
        """The call is over."""
        with self._changed:
            self._filed.pop(number, None)


class RemoteCaller:
    """Calls the other models of the archive through the server."""

    def __init__(self, exchange: Exchange, names: tuple[str, ...]) -> None:
        self._exchange = exchange
        self._names = frozenset(names)

    def names(self) -> frozenset[str]:
        """The models that may be called."""
        return self._names

    def run(self, model_name: str, question: InferenceRequest, *, is_concurrent: bool) -> InferenceResponse:
        """Run a model to its one answer. Raises InvalidRequest, InferenceFailed."""
        number = self._call(model_name, question, "concurrent" if is_concurrent else "run")
        try:
            return _result(self._exchange.take(number))
        finally:
            self._exchange.forget(number)

    def stream(self, model_name: str, question: InferenceRequest) -> Iterator[InferenceResponse]:
        """Run a decoupled model. Raises as `run`."""
        number = self._call(model_name, question, "stream")
        try:
            while True:
                self._exchange.send("next", {"call": number})
                frame = self._exchange.take(number)
                if frame.head.get("end"):
                    return
                yield _result(frame)
        finally:
            self._exchange.send("drop", {"call": number})
            self._exchange.forget(number)

    def _call(self, model_name: str, question: InferenceRequest, mode: str) -> int:
        number = self._exchange.new_number()
        head = {"call": number, "model": model_name, "mode": mode, **question_head(question)}
        self._exchange.send("call", head, question.inputs.values())
        return number


def _result(frame: Frame) -> InferenceResponse:
    if "error" in frame.head:
        raise failure_in(frame)
    return answer_in(frame)


class Worker:
    """Does the pieces of work that the server sends, until it says `finalize`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._model: StepModel | None = None
        self._is_decoupled = False

    def run(self) -> None:
        """Serve. Raises ConnectionLost when the server is gone."""
        while (frame := self._exchange.take(_WORK)).kind != "finalize":
            try:
                if frame.kind == "ask":
                    self._answer(question_in(frame))
                elif frame.kind == "ask-all":
                    self._answer_all(questions_in(frame))
                elif frame.kind == "load":
                    self._load(Launch.from_json(frame.head["launch"]))
                else:
                    self._complete(Launch.from_json(frame.head["launch"]))
            except RoundhouseError as error:
                self._exchange.send("failed", failure_head(error))
        if self._model is not None:
            self._model.finalize()

    def _load(self, launch: Launch) -> None:
        caller = RemoteCaller(self._exchange, launch.calls)
        utils = make_utils(str(launch.version_folder), caller, _write_log)
        self._model = StepModel(launch, utils, lambda: _import(launch, utils))
        self._is_decoupled = launch.is_decoupled
        self._exchange.send("ready")

    def _complete(self, launch: Launch) -> None:
        utils = make_utils(str(launch.version_folder), None, _write_log)
        config = complete_config(launch, utils, lambda: _import(launch, utils))
        self._exchange.send("config", {"config": config})

    def _answer(self, question: InferenceRequest) -> None:
        assert self._model is not None
        self._exchange.begin()
        if self._is_decoupled:
            self._model.answer(question, self._send_answer, self._exchange.is_cancelled)
            self._exchange.send("done")
            return
        answers: list[InferenceResponse] = []
        self._model.answer(question, answers.append, self._exchange.is_cancelled)
        self._exchange.send("answer", {"is_last": True, **answer_head(answers[0])}, answers[0].outputs)

    def _answer_all(self, questions: list[InferenceRequest]) -> None:
        """Run a batch; send one frame for each request, in their order."""
        assert self._model is not None
        self._exchange.begin()
        for outcome in self._model.answer_all(questions, self._exchange.is_cancelled):
            if isinstance(outcome, InferenceResponse):
                self._exchange.send("answer", answer_head(outcome), outcome.outputs)
            else:
                self._exchange.send("failed", failure_head(outcome))

    def _send_answer(self, answer: InferenceResponse) -> None:
        self._exchange.send("answer", answer_head(answer), answer.outputs)


def _import(launch: Launch, utils: ModuleType) -> ModuleType:
    """Import the model file as Triton does: as a submodule of its version, with its folders on the path."""
    sys.modules[UTILS_NAME] = utils
    sys.path.insert(0, str(launch.version_folder))
    sys.path.append(str(launch.directory))
    return importlib.import_module(f"{launch.version}.{Path(launch.file_name).stem}")


def _write_log(level: int, message: str) -> None:
    sys.stderr.write(marked(level, message))


def _die_with(parent: int) -> None:
    """Be killed when the server dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main() -> NoReturn:
    """Serve until told to end, or until the server is gone."""
    descriptor, parent = map(int, sys.argv[1:3])
    _die_with(parent)
    sys.dont_write_bytecode = True
    connection = Connection(socket.socket(fileno=descriptor))
    with contextlib.suppress(ConnectionLost):
        Worker(Exchange(connection)).run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that the model left behind do not hold it


if __name__ == "__main__":
    main()

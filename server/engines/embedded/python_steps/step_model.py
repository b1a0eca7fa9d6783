"""One `TritonPythonModel` object: how it is made, asked and ended. The same code runs in both hosts.

What the model's code raises, SystemExit included, becomes InferenceFailed or LoadFailed with one line for the caller;
the traceback goes to the log.
"""

import asyncio
import contextlib
import inspect
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, TypeAlias

from server.domain.errors import InferenceFailed, InvalidArchive, LoadFailed, RoundhouseError
from server.domain.inference import InferenceRequest as Question
from server.domain.inference import InferenceResponse as Answer
from server.engines.embedded.python_steps.launch import Launch
from server.engines.embedded.python_steps.responses import InferenceResponse, Reply

Outcome: TypeAlias = Answer | RoundhouseError

_MESSAGE_LIMIT: Final = 2000


class StepModel:
    """A model object with its module. Used by one request, or one batch of them, at a time."""

    def __init__(self, launch: Launch, utils: ModuleType, import_model: Callable[[], ModuleType]) -> None:
        """Import the module, make the object and initialise it. Raises LoadFailed."""
        self._launch = launch
        self._utils = utils
        self._runner: asyncio.Runner | None = None
        try:
            self._model: Any = _model_class(import_model())()
            if hasattr(self._model, "initialize"):
                self._model.initialize(dict(launch.arguments))
        except BaseException as error:
            utils.Logger.log_error(traceback.format_exc())
            raise LoadFailed(self._told(error)) from error
        if not hasattr(self._model, "execute"):
            raise LoadFailed(f"step {launch.name!r}: TritonPythonModel has no method execute")

    def answer(self, question: Question, emit: Callable[[Answer], None], is_cancelled: Callable[[], bool]) -> None:
        """Run one request; `emit` gets each answer, perhaps from a thread of the model's; returns after the last.

        Raises:
            InferenceFailed: the model raised, answered with an error, or returned what it may not return.
            InvalidRequest: the model answered with an error of code INVALID_ARG.
        """
        reply = Reply(self._launch.name, emit, is_cancelled, is_decoupled=self._launch.is_decoupled)
        returned = self._execute([question], [reply])
        if self._launch.is_decoupled:
            if returned is not None:
                raise self._wrong(f"is decoupled, so execute must return None, not {type(returned).__name__}")
            reply.wait()
            return
        self._complete(reply, self._responses(returned, 1)[0])

    def answer_all(self, questions: Sequence[Question], is_cancelled: Callable[[], bool]) -> list[Outcome]:
        """Run the requests of one batch in one execution; one outcome each. Not for decoupled models.

        Where the execution as a whole fails, as it may because of one of them, each request runs again by itself.
        """
        if len(questions) > 1:
            with contextlib.suppress(InferenceFailed):
                return self._answer_together(questions, is_cancelled)
        return [self._answer_alone(question, is_cancelled) for question in questions]

    def _answer_together(self, questions: Sequence[Question], is_cancelled: Callable[[], bool]) -> list[Outcome]:
        given: list[list[Answer]] = [[] for _ in questions]
        replies = [Reply(self._launch.name, each.append, is_cancelled, is_decoupled=False) for each in given]
        responses = self._responses(self._execute(questions, replies), len(questions))
        outcomes: list[Outcome] = []
        for answers, reply, response in zip(given, replies, responses, strict=True):
            try:
                self._complete(reply, response)
                outcomes.append(answers[0])
            except RoundhouseError as error:
                outcomes.append(error)
        return outcomes

    def _answer_alone(self, question: Question, is_cancelled: Callable[[], bool]) -> Outcome:
        answers: list[Answer] = []
        try:
            self.answer(question, answers.append, is_cancelled)
        except RoundhouseError as error:
            return error
        return answers[0]

    def _complete(self, reply: Reply, response: InferenceResponse | None) -> None:
        """Pass on what execute returned for one request, and wait until its answer is complete."""
        if response is not None:
            try:
                reply.send(response, is_final=True)
            except Exception as error:
                raise InferenceFailed(self._told(error)) from error
        reply.wait()
        if not reply.sent:
            raise self._wrong("execute returned no response and sent none")

    def _execute(self, questions: Sequence[Question], replies: Sequence[Reply]) -> object:
        """Call the model. Keeps nothing of the requests: a reply ends when the model has dropped its sender."""
        requests = [
            self._utils.InferenceRequest.received(question, question.outputs or self._launch.outputs, reply)
            for question, reply in zip(questions, replies, strict=True)
        ]
        try:
            returned = self._model.execute(requests)
            if inspect.iscoroutine(returned):
                returned = self._run(returned)
        except BaseException as error:
            self._utils.Logger.log_error(traceback.format_exc())
            raise InferenceFailed(self._told(error)) from error
        return returned

    def _run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        if self._runner is None:
            self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        return self._runner.run(coroutine)

    def _responses(self, returned: object, count: int) -> list[InferenceResponse | None]:
        """The responses to the requests; None where the model may have used a sender instead."""
        if not isinstance(returned, list):
            raise self._wrong(f"execute must return a list of InferenceResponse, not {type(returned).__name__}")
        if len(returned) != count:
            plural = "" if count == 1 else "s"
            raise self._wrong(
                f"execute must return one response per request: {count} request{plural}, {len(returned)} responses"
            )
        for response in returned:
            if response is not None and not isinstance(response, InferenceResponse):
                raise self._wrong(f"execute must return InferenceResponse objects, not {type(response).__name__}")
        return returned

    def _wrong(self, what: str) -> InferenceFailed:
        return InferenceFailed(f"step {self._launch.name!r}: {what}")

    def _told(self, error: BaseException) -> str:
        return told(self._launch, error)

    def finalize(self) -> None:
        """End the model; what its `finalize` raises is logged only."""
        try:
            if hasattr(self._model, "finalize"):
                self._model.finalize()
        except BaseException:
            self._utils.Logger.log_error(traceback.format_exc())
        self._model = None
        if self._runner is not None:
            self._runner.close()


def complete_config(launch: Launch, utils: ModuleType, import_model: Callable[[], ModuleType]) -> Mapping[str, Any]:
    """Let the model complete its own configuration (`launch.arguments["model_config"]`); Triton's JSON form.

    Raises:
        InvalidArchive: the model's code raised, or returned something else.
    """
    config = utils.ModelConfig(launch.arguments["model_config"])
    try:
        model_class = _model_class(import_model())
        if hasattr(model_class, "auto_complete_config"):
            config = model_class.auto_complete_config(config)
    except BaseException as error:
        utils.Logger.log_error(traceback.format_exc())
        raise InvalidArchive(f"auto_complete_config of {told(launch, error)}") from error
    if not isinstance(config, utils.ModelConfig):
        raise InvalidArchive(f"auto_complete_config of step {launch.name!r} must return a pb_utils.ModelConfig")
    completed: Mapping[str, Any] = config.as_dict()
    return completed


def told(launch: Launch, error: BaseException) -> str:
    """One line about a failure of the step's code, without the places where files lie on this host."""
    if isinstance(error, SystemExit):
        text = f"exited with code {error.code or 0} (sys.exit)"
    elif isinstance(error, RoundhouseError):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error}"
    text = text.replace(str(launch.directory), launch.name)
    return f"step {launch.name!r}: {text[:_MESSAGE_LIMIT]}"


def _model_class(module: ModuleType) -> Any:
    model_class = getattr(module, "TritonPythonModel", None)
    if model_class is None:
        raise LoadFailed("the model file defines no class TritonPythonModel")
    return model_class

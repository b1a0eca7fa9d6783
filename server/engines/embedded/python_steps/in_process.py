"""The host for steps that ask to run inside the server: no process, no copies. For steps that are trusted to behave."""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Final

from server.domain.errors import InferenceFailed, RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse, Tensor
from server.engines.embedded.python_steps.launch import Launch
from server.engines.embedded.python_steps.namespace import StepNamespace
from server.engines.embedded.python_steps.requests import Caller
from server.engines.embedded.python_steps.step_model import Outcome, StepModel
from server.engines.embedded.python_steps.utils_module import make_utils
from server.engines.embedded.running.streaming import reader_has_left

_log = logging.getLogger(__name__)
_AHEAD: Final = 16  # answers that a decoupled model may be ahead of its reader


class InProcessInstance:
    """One model object in this process.

    Inputs are handed over as read-only views: their memory belongs to whoever made them.
    """

    def __init__(self, launch: Launch, caller: Caller) -> None:
        """Import and initialise the model. Raises LoadFailed; then nothing of it stays behind."""
        self._launch = launch

        def write_log(level: int, message: str) -> None:
            _log.log(level, "%s: %s", launch.name, message)

        utils = make_utils(str(launch.version_folder), caller, write_log)
        self._namespace = StepNamespace((launch.version_folder, launch.directory), utils)
        try:
            self._model = StepModel(launch, utils, lambda: self._namespace.import_file(launch.file_name))
        except BaseException:
            self._namespace.close()
            raise

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run one request on the calling thread."""
        if self._launch.is_decoupled:
            with contextlib.closing(self.stream(request)) as stream:
                for answer in stream:
                    return answer
            raise InferenceFailed(f"step {self._launch.name!r} gave no response")
        answers: list[InferenceResponse] = []
        self._model.answer(_protected(request), answers.append, _never)
        return answers[0]

    def execute_all(self, requests: Sequence[InferenceRequest]) -> list[Outcome]:
        """Run a batch on the calling thread."""
        return self._model.answer_all([_protected(request) for request in requests], _never)

    def stream(self, request: InferenceRequest) -> Generator[InferenceResponse, None, None]:
        """Run one request; a decoupled model runs on a thread of its own, a few answers ahead of the reader."""
        if not self._launch.is_decoupled:
            yield self.execute(request)
            return
        ahead: queue.Queue[InferenceResponse | RoundhouseError | None] = queue.Queue(_AHEAD)
        is_closed = threading.Event()
        has_left = reader_has_left.get()

        def is_cancelled() -> bool:
            return is_closed.is_set() or has_left()

        thread = threading.Thread(
            target=self._produce, args=(request, ahead, is_cancelled), name=f"step {self._launch.name}", daemon=True
        )
        thread.start()
        item: InferenceResponse | RoundhouseError | None = None
        is_over = False
        try:
            while not is_over:
                item = ahead.get()
                is_over = not isinstance(item, InferenceResponse)
                if isinstance(item, InferenceResponse):
                    yield item
        finally:
            is_closed.set()
            while not is_over:
                is_over = not isinstance(ahead.get(), InferenceResponse)
            thread.join()
        if isinstance(item, RoundhouseError):
            raise item

    def _produce(
        self,
        request: InferenceRequest,
        ahead: "queue.Queue[InferenceResponse | RoundhouseError | None]",
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Run a decoupled model; its answers, and in the end its error or None, go into the queue."""
        reader_has_left.set(is_cancelled)  # for decoupled models that this one calls

        def emit(answer: InferenceResponse) -> None:
            if not is_cancelled():
                ahead.put(answer)

        try:
            self._model.answer(_protected(request), emit, is_cancelled)
            ahead.put(None)
        except RoundhouseError as error:
            ahead.put(error)

    def outside_bytes(self) -> int:
        """Nothing."""
        return 0

    def close(self) -> None:
        """Finalise the model, and forget its modules."""
        self._model.finalize()
        self._namespace.close()


def _protected(request: InferenceRequest) -> InferenceRequest:
    inputs: dict[str, Tensor] = {}
    for name, tensor in request.inputs.items():
        view = tensor.data.view()
        view.flags.writeable = False
        inputs[name] = Tensor(name, tensor.datatype, view)
    return InferenceRequest(inputs, request.outputs, request.id, request.parameters)


def _never() -> bool:
    return False

"""The models that one step may call: those of its own archive, and only the ones that its folder names."""

from collections.abc import Iterator

from server.domain.errors import InferenceFailed
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import Step
from server.engines.embedded.loaded_step import CalleeRunner


class Callees:
    """Guards the engine's runner for one step."""

    def __init__(self, step: Step, runner: CalleeRunner) -> None:
        self._step = step.name
        self._names = frozenset(step.calls)
        self._runner = runner

    def names(self) -> frozenset[str]:
        """The models that may be called."""
        return self._names

    def run(self, model_name: str, question: InferenceRequest, *, is_concurrent: bool = False) -> InferenceResponse:
        """Run a model to its one answer. Raises InferenceFailed for a model outside the archive, and as the runner."""
        del is_concurrent
        self._check(model_name)
        return self._runner.run(model_name, question)

    def stream(self, model_name: str, question: InferenceRequest) -> Iterator[InferenceResponse]:
        """Run a model that may be decoupled. Raises when iterated, as `run`."""
        self._check(model_name)
        yield from self._runner.stream(model_name, question)

    def _check(self, model_name: str) -> None:
        if model_name not in self._names:
            known = ", ".join(sorted(self._names)) or "none"
            raise InferenceFailed(
                f"step {self._step!r} calls model {model_name!r}, which its archive does not give it;"
                f" it may call: {known}"
            )

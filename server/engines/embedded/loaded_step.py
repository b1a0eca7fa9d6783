"""What a backend gives the embedded engine, and what the engine gives a backend. Protocols only.

Everything here is blocking and runs in worker threads; the event loop never calls it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.errors import RoundhouseError
from server.domain.inference import InferenceRequest, InferenceResponse
from server.domain.model import ModelSignature, Step


class LoadedStep(Protocol):
    """One step in memory. `execute` and `stream` may run in several threads at once, up to the step's instances.

    Requests arrive validated against the step's config (names, datatypes, dims, batch), with `reshape` applied;
    the engine drops outputs that were not asked for and reshapes the others back.
    """

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run one request to its one answer.

        Raises:
            InferenceFailed, InvalidRequest, DeviceFull, EngineLost: any other exception becomes InferenceFailed.
        """
        ...

    def stream(self, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """Run one request to any number of answers, also where the step is not decoupled. Raises as `execute`.

        Closing the iterator early (a generator's `close()`) cancels what is still to come.
        """
        ...

    def outside_bytes(self) -> int:
        """Host memory this step takes outside this process (its worker process's), 0 where it has none."""
        ...

    def close(self) -> None:
        """Free everything. Called once, when nothing runs any more."""
        ...


@runtime_checkable
class PackableStep(LoadedStep, Protocol):
    """A loaded step whose weights may be packed in files of this host, beside those of the archive."""

    @property
    def folder(self) -> Path | None:
        """Where those files are, once the step maps them."""
        ...

    @property
    def split_products(self) -> int:
        """How many matrix products it computes from halves of FP32 numbers (`split_products/`)."""
        ...

    @property
    def reserve_bytes(self) -> int:
        """Host memory that packing will add to what the step takes now."""
        ...

    def settle(self) -> None:
        """Do what the load left for later. Raises as `Backend.load`."""
        ...

    def pack(self) -> bool:
        """Pack, and run from the files from now on. Takes seconds; executions go on. Returns whether it could."""
        ...


@runtime_checkable
class BatchingStep(LoadedStep, Protocol):
    """A loaded step that can run several requests in one execution (Triton's `dynamic_batching`)."""

    def execute_all(self, requests: Sequence[InferenceRequest]) -> Sequence[InferenceResponse | RoundhouseError]:
        """Run requests that may share a batch: one outcome each, in their order.

        A request that fails does not fail the others, and no answer depends on who else was in the batch.
        """
        ...


class CalleeRunner(Protocol):
    """How a step runs the other models of its archive, on the calling worker thread: `ensemble` steps, BLS calls.

    `model_name` is the name as the step's own files write it. Requests are validated as any other.
    """

    def run(self, model_name: str, request: InferenceRequest) -> InferenceResponse:
        """Run a callee to its one answer; waits for a free instance of it.

        Raises:
            InvalidRequest: no such callee, or the inputs do not fit it.
            UnsupportedModel: the callee is decoupled; use `stream`.
            InferenceFailed, DeviceFull, EngineLost.
        """
        ...

    def stream(self, model_name: str, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """Run a callee that may be decoupled. Close the iterator to cancel. Raises as `run`."""
        ...

    def signature(self, model_name: str) -> ModelSignature:
        """What a callee takes and gives. Raises InvalidRequest where there is no such callee."""
        ...


class Backend(Protocol):
    """Makes steps of one kind (`onnxruntime`, `python`, `ensemble`) executable."""

    def load(self, step: Step, config: ModelConfig, callees: CalleeRunner) -> LoadedStep:
        """Load `step`, whose complete `config` is already parsed. Blocking; called in a worker thread.

        Raises:
            LoadFailed, UnsupportedModel, InvalidArchive, DeviceFull: nothing of the step stays behind.
        """
        ...

    def close(self) -> None:
        """Free what the steps of this backend share. Called once, after all of them are closed."""
        ...


@runtime_checkable
class LazyBackend(Protocol):
    """A backend whose own library is imported when its first step is loaded."""

    def prepare(self) -> None:
        """Import what all steps share, before the memory of the step is measured; quick when it is done already.

        Raises:
            UnsupportedModel: it is not installed; the message says how to install it.
        """
        ...

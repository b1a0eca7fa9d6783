"""A loaded ONNX model: its sessions, and which of them an execution takes.

A session with as many threads as cores answers one request soonest. Two executions at once in it take more processor
time for each than two on one thread each (MiniLM on 2 cores: 18 against 11 s per 1,000 texts). So a step that is worth
it gets a second session over the same weights (`onnx_packing.py`), and each execution takes the one that fits.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from server.domain.clock import Clock
from server.domain.errors import InvalidRequest
from server.domain.inference import Array, InferenceRequest, InferenceResponse, Tensor
from server.domain.model import CPU, Device, Step, StepDigest
from server.engines.embedded.backends.onnx_errors import load_error, run_error
from server.engines.embedded.backends.onnx_packing import Recipe, Sample
from server.engines.embedded.running.instances import Instances
from server.engines.embedded.split_products.split_graph import COUNT

WORTH_IT: Final = 200
"""Executions after which packed weights are made: by then two sessions have saved, or would have, what making them
costs (0.5 s of a processor, and a file of 1.5 times the weights)."""

_log = logging.getLogger(__name__)


AFTER_A_CROWD_S: Final = 0.25
"""Between two executions of a busy step there is a gap, in which another one must not take all threads."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Of one step, over the same weights."""

    wide: ort.InferenceSession
    narrow: ort.InferenceSession | None = None
    graph: Path | None = None
    """Where they come from, if their weights are packed in files."""


class OnnxStep:
    """A step in ONNX Runtime."""

    def __init__(self, step: Step, sessions: Sessions, device: Device, turns: "Turns | None") -> None:
        """`turns`: whose turn it is on the CPU's cores; `None` where the step runs elsewhere."""
        self._turns = turns
        self._step = step
        self._sessions: Sessions | None = sessions
        self._device = device
        self._outputs = tuple(spec.name for spec in step.signature.outputs)
        self._datatypes = {spec.name: spec.datatype for spec in step.signature.outputs}

    def execute(self, request: InferenceRequest) -> InferenceResponse:
        """Run the graph; only what `request.outputs` asks for is computed.

        Raises:
            InvalidRequest: the shapes do not fit the graph, or BYTES are not UTF-8.
            InferenceFailed, DeviceFull.
        """
        names = request.outputs or self._outputs
        feed = {name: _to_onnx(tensor) for name, tensor in request.inputs.items()}
        try:
            arrays = self._run(names, feed)
        except Exception as error:
            raise run_error(self._step, self._device, error) from error
        return InferenceResponse(
            tuple(
                _from_onnx(name, self._datatypes[name], array)
                for name, array in zip(names, arrays, strict=True)
                if array is not None  # an optional output of the graph
            )
        )

    def _run(self, names: Sequence[str], feed: dict[str, Array]) -> list[Any]:
        if self._turns is None:
            return list(self._session(is_crowded=False).run(names, feed))
        self._turns.take()
        try:
            return list(self._session(self._turns.is_crowded()).run(names, feed))
        finally:
            self._turns.give()

    def _session(self, is_crowded: bool) -> ort.InferenceSession:
        sessions = self._sessions
        assert sessions is not None, "an execution after close. This is a bug."
        return sessions.narrow if is_crowded and sessions.narrow is not None else sessions.wide

    def stream(self, request: InferenceRequest) -> Iterator[InferenceResponse]:
        """The one answer."""
        yield self.execute(request)

    def outside_bytes(self) -> int:
        """Nothing: everything is in this process, or on the GPU."""
        return 0

    def close(self) -> None:
        """Drop the sessions, and with them the weights."""
        self._sessions = None


class PackableStep(OnnxStep):
    """A step whose weights are packed in files, or will be once it has been used so much that it pays."""

    def __init__(
        self, step: Step, sessions: Sessions, turns: "Turns", recipe: Recipe, on_worth_it: Callable[[StepDigest], None]
    ) -> None:
        super().__init__(step, sessions, CPU, turns)
        self._recipe = recipe
        self._on_worth_it = on_worth_it
        self._left = WORTH_IT if sessions.graph is None else 0
        self._sample: Sample | None = None
        self._changing = threading.Lock()

    @property
    def folder(self) -> Path | None:
        """Where the files are that it maps beside the step's own; None before it was packed."""
        sessions = self._sessions
        return sessions.graph.parent if sessions is not None and sessions.graph is not None else None

    @property
    def split_products(self) -> int:
        """How many matrix products of the packed graph are split; 0 before it was packed."""
        sessions = self._sessions
        if sessions is None or sessions.graph is None:
            return 0
        return int(sessions.wide.get_modelmeta().custom_metadata_map.get(COUNT, 0))

    @property
    def reserve_bytes(self) -> int:
        """What packing will add to the step's memory."""
        return self._recipe.own_bytes if self._sessions is not None and self._sessions.graph is None else 0

    def _run(self, names: Sequence[str], feed: dict[str, Array]) -> list[Any]:
        answers = super()._run(names, feed)
        if self._left > 0:  # threads may count the same run: then it is packed a little later
            self._sample = Sample(tuple(names), feed)
            self._left -= 1
            if not self._left:
                self._on_worth_it(self._step.digest)
        return answers

    def settle(self) -> None:
        """Make the narrow session, which a load leaves for later. Raises LoadFailed, DeviceFull."""
        sessions = self._sessions
        if sessions is None or sessions.graph is None or sessions.narrow is not None:
            return
        try:
            narrow = self._recipe.narrow(sessions.graph)
        except Exception as error:
            raise load_error(self._step, CPU, error) from error
        self._change(Sessions(sessions.wide, narrow, sessions.graph))

    def pack(self) -> bool:
        """Write the weights packed, if that was not done yet, and change to sessions over them. Returns whether it did.

        Takes seconds, in which the step runs as before. Where it fails, or nothing has run yet to prove them with, the
        step stays as it is.
        """
        sample, self._sample = self._sample, None
        try:
            graph = self._recipe.find() or (self._recipe.make(sample) if sample is not None else None)
            if graph is None:
                return False
            self._change(Sessions(self._recipe.wide(graph), self._recipe.narrow(graph), graph))
        except Exception as error:  # of the disk, or of a runtime that cannot write this graph
            _log.warning("the weights of step %r are not packed: %s", self._step.name, error)
            return False
        return True

    def _change(self, sessions: Sessions) -> None:
        """Executions under way end in the sessions that they began in."""
        with self._changing:
            if self._sessions is not None:
                self._sessions = sessions

    def close(self) -> None:
        """Drop the sessions, also those that are being made."""
        with self._changing:
            super().close()


class Turns(Instances):
    """Executions at once on the CPU, of all steps together: one more than cores.

    Who comes back from a run waits for the interpreter's lock, and so does who goes next: with as many as cores these
    stood idle for a fifth of the time (MiniLM, 2 cores, measured). Still more finish no sooner, and each holds its
    scratch memory: 20 MiniLM runs of 8 x 32 tokens at once on 2 cores leave 230 MB behind.
    """

    def __init__(self, cores: int, clock: Clock) -> None:
        super().__init__(max(2, cores) + 1)
        self._cores: Final = cores
        self._clock: Final = clock
        self._crowded_until = 0.0

    def is_crowded(self) -> bool:
        """Whether so many run, or did a moment ago, that each does best on one thread."""
        now = self._clock.now()
        if self.in_use * 2 > self._cores:
            self._crowded_until = now + AFTER_A_CROWD_S
            return True
        return now < self._crowded_until


def _to_onnx(tensor: Tensor) -> Array:
    if tensor.datatype != "BYTES":
        return tensor.data
    try:
        texts = [each.decode() if isinstance(each, bytes) else str(each) for each in tensor.data.ravel()]
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"input {tensor.name!r}: ONNX strings must be UTF-8: {error}") from error
    return np.array(texts, dtype=np.object_).reshape(tensor.shape)


def _from_onnx(name: str, datatype: str, array: Array) -> Tensor:
    if datatype != "BYTES":
        return Tensor(name, datatype, array)
    raw = np.empty(array.size, dtype=np.object_)
    raw[:] = [each.encode() if isinstance(each, str) else each for each in array.ravel()]
    return Tensor(name, datatype, raw.reshape(array.shape))

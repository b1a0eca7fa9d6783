"""From a trace to requests, and from answers to verdicts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleet.archives import TEXTS, Fleet
from benchmarks.fleet.encoder import Floats
from benchmarks.load.open_loop import Answered, Reply
from benchmarks.traffic.trace import Trace

_NPY: Final = "application/x-npy"
CLOSE_ENOUGH: Final = 1e-3
"""Largest difference of a score. Another head's scores differ by 0.1 and more in nearly all cases."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is sent when. `due` in seconds of the wall, ascending; `texts[i]` is the text that request `i` carries."""

    due: NDArray[np.float64]
    members: NDArray[np.int64]
    texts: NDArray[np.int64]
    seconds: float

    def __len__(self) -> int:
        return len(self.due)


def schedule(trace: Trace, days: float, seconds: float, *, seed: int) -> Schedule:
    """The trace, compressed from `days` to `seconds`; everything keeps its place in relation to everything else."""
    texts = np.random.default_rng((seed, 4)).integers(TEXTS, size=len(trace))
    return Schedule(trace.times * (seconds / (days * 86400)), trace.asked, texts, seconds)


def requests(fleet: Fleet, plan: Schedule) -> Callable[[int], bytes]:
    """The whole HTTP request of each index: an .npy array to /invocations, with TargetModel."""
    bodies = [_npy(fleet.texts[index : index + 1]) for index in range(TEXTS)]

    def request(index: int) -> bytes:
        return invocation(fleet.members[int(plan.members[index])].name, bodies[int(plan.texts[index])])

    return request


def invocation(name: str, body: bytes) -> bytes:
    """One request for an archive."""
    head = (
        f"POST /invocations HTTP/1.1\r\nhost: 127.0.0.1\r\nx-amzn-sagemaker-target-model: {name}\r\n"
        f"content-type: {_NPY}\r\naccept: {_NPY}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def text_body(fleet: Fleet, text: int) -> bytes:
    """The body that carries a text."""
    return _npy(fleet.texts[text : text + 1])


class Verdicts:
    """Every answer against the reference: the right status, and the right archive's scores for the right text."""

    def __init__(self, fleet: Fleet, plan: Schedule) -> None:
        self._plan = plan
        self._expected = cache(fleet.expected())
        self._classes = fleet.shape.classes

    def problem(self, answered: Answered) -> str:
        """What is wrong with an answer; empty where nothing is."""
        reply = answered.reply
        if reply.status != 200:
            return f"{reply.status}: {reply.body[:300].decode(errors='replace')}" if reply.status else "no answer"
        index = answered.index
        return difference(reply, self._expected(int(self._plan.members[index]), int(self._plan.texts[index])))


def difference(reply: Reply, expected: Floats) -> str:
    """How the scores of an answer differ from the expected ones; empty where they agree."""
    if len(reply.body) < expected.nbytes or not reply.body.startswith(b"\x93NUMPY"):
        return "wrong answer: not the array that was asked for"
    scores = np.frombuffer(reply.body[-expected.nbytes :], "<f4")
    off = float(np.max(np.abs(scores - expected)))
    return "" if off <= CLOSE_ENOUGH else f"wrong answer: scores are off by {off:.3g}"


def _npy(array: NDArray[np.int64]) -> bytes:
    text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {array.shape}, }}"
    padding = " " * (-(10 + len(text) + 1) % 64)
    header = f"{text}{padding}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + array.tobytes()

"""Requests that never cease, while a test changes something under them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from server.domain.clock import SystemClock
from server.domain.inference import Array
from tests.integration.live_server import LiveServer
from tests.integration.residency.asking import Client, Reply
from tests.integration.residency.linear_archives import expected, inputs_of

CLIENTS = 8
ROWS = 8


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and which content answered it: its seed, or what was wrong."""

    began: float
    ended: float
    answered_by: int | str
    client: int


@dataclass(slots=True)
class Traffic:
    """What was answered so far. Times are of `SystemClock`."""

    exchanges: list[Exchange] = field(default_factory=list)

    @property
    def faults(self) -> set[str]:
        """What was not a right answer."""
        return {each.answered_by for each in self.exchanges if isinstance(each.answered_by, str)}

    def answers_of(self, seed: int) -> list[Exchange]:
        """The requests that this content answered."""
        return [each for each in self.exchanges if each.answered_by == seed]

    def turned_back(self, order: Sequence[int]) -> list[Exchange]:
        """Answers of a content that is older, in `order`, than one that the same client had seen before."""
        seen, found = dict.fromkeys(range(CLIENTS), 0), []
        for each in self.exchanges:  # a client's own are in order
            rank = order.index(each.answered_by) if each.answered_by in order else 0
            if rank < seen[each.client]:
                found.append(each)
            seen[each.client] = max(rank, seen[each.client])
        return found

    def has_answers_of(self, seed: int, more_than: int = 20) -> bool:
        """Whether this content has answered for a while."""
        return len(self.answers_of(seed)) > more_than


@contextmanager
def traffic(
    server: LiveServer, archive: str, seeds: Sequence[int], answer: Callable[[Array, int], Array] = expected
) -> Iterator[Traffic]:
    """Ask `archive` all the time in batches; each answer must be that of one of `seeds` in every row.

    `answer` computes the right answer of a content to some inputs.
    """
    found, clock, is_over = Traffic(), SystemClock(), threading.Event()

    def ask_on(first: int) -> None:
        with Client(server) as client:
            number = first
            while not is_over.is_set():
                number += CLIENTS
                began, inputs = clock.now(), inputs_of(number, ROWS)
                reply = client.infer(archive, inputs)
                whose = answered_by(reply, number, seeds, answer)
                found.exchanges.append(Exchange(began, clock.now(), whose, first))

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(ask_on, first) for first in range(CLIENTS)]
        try:
            yield found
        finally:
            is_over.set()
        for each in running:
            each.result()


def answered_by(reply: Reply, number: int, seeds: Sequence[int], answer: Callable[[Array, int], Array]) -> int | str:
    """The content that this answer is from."""
    if reply.status != 200:
        return f"{reply.status}: {reply.body[:300]!r}"
    inputs = inputs_of(number, ROWS)
    for seed in seeds:
        if np.allclose(reply.output, answer(inputs, seed), rtol=1e-4, atol=1e-4):
            return seed
    return f"the answer of no content, or of several: {reply.output.tolist()}"

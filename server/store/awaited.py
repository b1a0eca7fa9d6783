"""Which archives wait for which bases, by key. Pure bookkeeping; what it costs does not depend on how many wait."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Awaited:
    """Who waits for whom. The same archive may wait several times, where each of its copies is private."""

    def __init__(self) -> None:
        self._bases: dict[str, Counter[str]] = {}
        self._borrowers: dict[str, Counter[str]] = {}

    @contextmanager
    def waiting(self, borrower: str, base: str) -> Iterator[None]:
        """Around the time in which `borrower` waits for `base`."""
        self._bases.setdefault(borrower, Counter())[base] += 1
        self._borrowers.setdefault(base, Counter())[borrower] += 1
        try:
            yield
        finally:
            _take(self._bases, borrower, base)
            _take(self._borrowers, base, borrower)

    def is_awaited(self, base: str) -> bool:
        """Whether anybody waits for this base."""
        return base in self._borrowers

    def borrowers(self, base: str) -> list[str]:
        """The keys of those who wait for this base."""
        return list(self._borrowers.get(base, ()))

    def leads_to(self, key: str, sought: str) -> bool:
        """Whether `key` is `sought`, or waits for it, however many others are between them."""
        seen, pending = {key}, [key]
        while pending:
            each = pending.pop()
            if each == sought:
                return True
            found = self._bases.get(each, Counter()).keys() - seen
            seen |= found
            pending += found
        return False


def _take(index: dict[str, Counter[str]], key: str, value: str) -> None:
    index[key][value] -= 1
    if not index[key][value]:
        del index[key][value]
    if not index[key]:
        del index[key]

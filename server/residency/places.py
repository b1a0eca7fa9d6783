"""How many requests may wait for archives, and how many of them for the same one."""

from typing import Final

LEAST: Final = 1


class Places:
    """A bounded number of places to wait, `most` in all.

    The callers of one archive may take at most `share` of the places that others leave, and at least one. However many
    archives are wanted by crowds, a place is left for the next archive: with a share of a half, one crowd takes half of
    all places, two a third each, and n crowds n/(n+1) together.

    Source: Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM
    Transactions on Networking, 1998.
    """

    def __init__(self, most: int, share: float) -> None:
        self.most = most
        self._share = share
        self._taken: dict[str, int] = {}
        self.taken = 0
        """How many wait."""

    def take(self, name: str) -> bool:
        """Take a place to wait for this archive; false where there is none for it."""
        own = self._taken.get(name, 0)
        others = self.taken - own
        if self.taken >= self.most or own >= max(LEAST, self._share * (self.most - others)):
            return False
        self._taken[name] = own + 1
        self.taken += 1
        return True

    def leave(self, name: str) -> None:
        """Give the place back."""
        self.taken -= 1
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]

"""Least recently used leaves first."""

from collections import OrderedDict
from collections.abc import Collection

from benchmarks.simulation.policies.policy import Load, Setting, first_of


class Lru:
    """A dictionary in order of last use."""

    def __init__(self, _: Setting) -> None:
        self._order: OrderedDict[int, None] = OrderedDict()

    def used(self, archive: int, at: int) -> None:  # noqa: ARG002 - the seam's
        """To the end."""
        self._order.move_to_end(archive)

    def loaded(self, archive: int, at: int, load: Load) -> None:  # noqa: ARG002 - the seam's
        """At the end."""
        self._order[archive] = None

    def victim(self, at: int, spared: Collection[int] = ()) -> int:  # noqa: ARG002 - the seam's
        """From the front."""
        archive = first_of(self._order, spared)
        del self._order[archive]
        return archive

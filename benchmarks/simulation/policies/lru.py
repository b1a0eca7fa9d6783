"""Least recently used leaves first."""

from collections import OrderedDict

from benchmarks.simulation.policies.policy import Load, Setting


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

    def victim(self, at: int) -> int:  # noqa: ARG002 - the seam's
        """From the front."""
        return self._order.popitem(last=False)[0]

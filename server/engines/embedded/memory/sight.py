"""What the embedded engine holds in memory, all in all, to compare it with what its steps are charged with.

Counted as `host_memory.py` says: anonymous memory, mapped files of the steps, and the steps' own worker processes.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from server.domain.model import CPU
from server.domain.sighting import Sighting
from server.engines import process_memory
from server.engines.embedded.memory import host_memory
from server.engines.embedded.resident import Resident


class Overhead:
    """Memory that belongs to no step: the interpreter, the libraries, what is imported later. Bytes.

    Written by one thread at a time.
    """

    def __init__(self) -> None:
        self.in_process = 0
        self._imported: set[str] = set()

    def begin(self) -> None:
        """No step is loaded yet: all that is there is overhead."""
        host_memory.collect_and_release()
        self.in_process = host_memory.anonymous_bytes()

    def has_imported(self, backend: str) -> bool:
        """Whether the backend's first load is over."""
        return backend in self._imported

    @contextmanager
    def importing(self, backend: str) -> Iterator[None]:
        """Around what a backend does before its first step, and does again quickly before others."""
        if backend in self._imported:
            yield
            return
        before = host_memory.anonymous_bytes()
        yield
        self._imported.add(backend)
        self.in_process += max(0, host_memory.anonymous_bytes() - before)


def see(residents: Collection[Resident], overhead_bytes: int, *, is_disturbed: bool) -> Sighting:
    """Measure now; some milliseconds. `residents`: every step that is in memory. Blocks."""
    held = host_memory.anonymous_bytes() + process_memory.mapped_below(
        [folder for resident in residents for folder in resident.folders]
    )
    held += sum(resident.outside_bytes() for resident in residents)
    return Sighting(
        steps=frozenset(resident.step.digest for resident in residents),
        held={CPU: held},
        overhead={CPU: overhead_bytes},
        is_disturbed=is_disturbed,
    )

"""A model that says in words that memory ran out becomes DeviceFull: then room is made, or 507 is answered."""

from collections.abc import Iterator
from contextlib import contextmanager

from server.domain.errors import DeviceFull, InferenceFailed, LoadFailed
from server.domain.model import CPU
from server.engines.out_of_memory import says_out_of_memory


@contextmanager
def full_device_told(name: str) -> Iterator[None]:
    """Around whatever runs the code of the step `name`. Raises DeviceFull."""
    try:
        yield
    except (LoadFailed, InferenceFailed) as error:
        if says_out_of_memory(str(error), (name,)):
            raise DeviceFull(name, CPU, said=str(error)) from error
        raise

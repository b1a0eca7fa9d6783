"""Which task reads an archive's plain payloads: by the manifest's task, else by what the entry model takes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from server.codecs import text_input
from server.codecs.tasks import texts
from server.codecs.tasks.task import NO_TASK, Task
from server.domain.model import StagedArchive

TASKS: Final[Mapping[str, Task]] = MappingProxyType({})
"""By the manifest's `task`."""


def task_of(archive: StagedArchive) -> Task:
    """Find the task of an archive; `NO_TASK` where it takes KServe requests only."""
    task = TASKS.get(archive.task)
    if task is not None:
        return task
    return texts.TASK if text_input.text_input(archive.signature) is not None else NO_TASK

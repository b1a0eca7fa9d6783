"""Which task reads an archive's plain payloads: by the manifest's task, else by what the entry model takes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from server.codecs.tasks import (
    creative_advertising,
    image_classification,
    segmentation,
    text_classification,
    text_to_image,
    texts,
    zero_shot,
)
from server.codecs.tasks.task import NO_TASK, Task
from server.codecs.text import text_input
from server.domain.model import StagedArchive

TASKS: Final[Mapping[str, Task]] = MappingProxyType(
    {
        creative_advertising.TASK.name: creative_advertising.TASK,
        image_classification.TASK.name: image_classification.TASK,
        segmentation.TASK.name: segmentation.TASK,
        text_classification.TASK.name: text_classification.TASK,
        text_to_image.TASK.name: text_to_image.TASK,
        zero_shot.TASK.name: zero_shot.TASK,
    }
)
"""By the manifest's `task`."""


def task_of(archive: StagedArchive) -> Task:
    """Find the task of an archive; `NO_TASK` where it takes KServe requests only."""
    task = TASKS.get(archive.task)
    if task is not None:
        return task
    return texts.TASK if text_input.text_input(archive.signature) is not None else NO_TASK

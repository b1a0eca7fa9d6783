"""Runs a serialized DALI pipeline on pictures on the CPU, so that a build can see what its preprocessing gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from builders.pipeline.extras import need


def run_dali(pipeline: Path, source: str, pictures: Sequence[bytes]) -> list[list[npt.NDArray[Any]]]:
    """Feed encoded pictures to the input `source`, one at a time; gives each one's outputs, without a batch axis."""
    dali = need("nvidia.dali")
    loaded = dali.Pipeline.deserialize(
        pipeline.read_bytes(),
        batch_size=1,
        num_threads=1,
        device_id=None,
        prefetch_queue_depth=1,
        exec_async=False,
        exec_pipelined=False,
    )
    loaded.build()
    results: list[list[npt.NDArray[Any]]] = []
    for picture in pictures:
        loaded.feed_input(source, [np.frombuffer(picture, np.uint8)])
        results.append([np.asarray(output.at(0)).copy() for output in loaded.run()])
    return results

"""The config of a DALI step: encoded images in, under the rules of Triton's DALI backend."""

from collections.abc import Sequence
from typing import Any

from builders.triton_config.model import DYNAMIC, Field, Target, step_config

_CPU_INSTANCES = 2


def dali_config(
    *,
    name: str,
    source: str,
    outputs: Sequence[Field],
    max_batch_size: int,
    target: Target = "cpu",
    threads: int = 2,
) -> Any:
    """A complete config. `source` is the name of the pipeline's input, UINT8 [-1]; outputs are matched by position.

    Requests of different lengths share a batch (`allow_ragged_batch`), since a DALI batch is a list. On a CPU two
    instances run side by side; on a GPU one, which gives its memory back when it is unloaded.
    """
    is_gpu = target == "gpu"
    parameters = {"num_threads": str(threads), **({"release_after_unload": "true"} if is_gpu else {})}
    config = step_config(
        name=name,
        backend="dali",
        inputs=[Field(source, "TYPE_UINT8", (DYNAMIC,))],
        outputs=outputs,
        max_batch_size=max_batch_size,
        target=target,
        parameters=parameters,
        instances=1 if is_gpu else _CPU_INSTANCES,
    )
    config.input[0].allow_ragged_batch = True
    config.dynamic_batching.SetInParent()
    return config

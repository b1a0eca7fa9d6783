"""Whether an error's text says that memory ran out: SageMaker's list of phrases, and what that list misses.

Models tell it in words only, whatever engine runs them. Their own words count, never a model's name: an archive called
BLOOM is not out of memory.
"""

import re
from collections.abc import Iterable
from typing import Final

_PHRASES: Final = re.compile(
    r"CUDA out of memory|CUDA_OUT_OF_MEMORY|[Oo]ut [Oo]f [Mm]emory|MemoryError|OutOfMemory|\bOOM\b"
    r"|(?:Dst|Src) tensor is not initialized|CNMEM_STATUS_OUT_OF_MEMORY|CUDNN_STATUS_NOT_INITIALIZED"
    r"|CUBLAS_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)|[Ff]ailed to allocate memory|No space left on device"
    r"|memory limit set for KIND_GPU \d+ has exceeded|Unable to allocate .* for an array|bad_alloc"
)
"""What SageMaker's list misses: the refusal of --model-load-gpu-limit, numpy's and C++'s own words."""

_ON_GPU: Final = re.compile(r"CUDA|CUDNN|CUBLAS|CNMEM|KIND_GPU|\bGPU\b")


def says_out_of_memory(text: str, names: Iterable[str]) -> bool:
    """Whether `text`, without any of the models' `names` in it, says so."""
    for name in names:
        text = text.replace(name, "")
    return _PHRASES.search(text) is not None


def says_on_gpu(text: str, names: Iterable[str]) -> bool:
    """Whether `text`, without any of the models' `names` in it, is about a GPU."""
    for name in names:
        text = text.replace(name, "")
    return _ON_GPU.search(text) is not None

"""A DALI pipeline that outlives bad samples: NVIDIA's `dali` backend for Triton, as both engines run it without one.

The rules are those of https://github.com/triton-inference-server/dali_backend: a serialized pipeline, inputs by the
name of their `external_source`, outputs by position. One thing differs: an image that does not decode leaves a DALI
pipeline unusable, and there fails its whole batch; here the pipeline is made anew, and only that image's request fails.

Also copied beside Triton's Python-based backend, so it imports numpy and nvidia.dali only. Blocks; for one thread.
"""

import importlib
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Samples: TypeAlias = Mapping[str, Array]
"""One request: arrays by the names of the pipeline's inputs, each with the batch axis in front."""

MISSING: Final = 'the package nvidia.dali is not installed here; pip install "roundhouse[dali]"'
DEFAULT_FILENAME: Final = "model.dali"
SOURCE_FILENAME: Final = "dali.py"
DEFAULT_THREADS: Final = 2

_PIXELS_AT_ONCE: Final = 100_000_000
"""Larger batches run in several goes: 300 MB of RGB at a time."""
_KEPT_PIXELS: Final = 32_000_000
"""After more than that a pipeline is made anew, which takes some milliseconds and frees its buffers."""

_OPERATOR: Final = re.compile(r"operator `(?:nvidia\.dali\.fn\.)?([^`]+)`")
_REASON: Final = re.compile(r"encountered:\s*(.*?)\s*(?:Current pipeline object|C\+\+ context|\Z)", re.DOTALL)
_OUT_OF_MEMORY: Final = re.compile(r"bad_alloc|[Oo]ut of memory|cudaErrorMemoryAllocation|[Cc]annot allocate memory")
_DEVICE_TROUBLE: Final = re.compile(r"CUDA (?:runtime|driver) API error|NVML|nvjpeg.*(?:execution|allocator)")
_NEEDS_GPU: Final = re.compile(r"CUDA-capable GPU|no CUDA-capable device|CUDA driver is not installed")
_DECODES_IMAGES: Final = re.compile(rb"decoders__Image|ImageDecoder|PeekImageShape|peek_image_shape")


class Unusable(Exception):
    """DALI refuses the pipeline. The message says why."""


class Unsupported(Unusable):
    """The pipeline needs what is not here: nvidia.dali itself, or a GPU."""


class Unfit(Unusable):
    """The pipeline does not fit its config."""


class SampleRefused(Exception):
    """A request's own data made the pipeline fail. The message is for its sender."""


@dataclass(frozen=True, slots=True)
class Edge:
    """An input or output of the config; `ndim` without the batch axis."""

    name: str
    dtype: np.dtype[Any]
    ndim: int


def import_dali() -> Any:
    """The module nvidia.dali. Raises Unsupported where it is not installed."""
    # Read by DALI once: else its host pool keeps the memory of the largest picture that it ever saw, for ever.
    os.environ.setdefault("DALI_MALLOC_POOL_THRESHOLD", "0")
    try:
        return importlib.import_module("nvidia.dali")
    except ImportError as error:
        raise Unsupported(MISSING) from error


class DaliPipeline:
    """A built pipeline. Its outputs come back in the order in which it gives them."""

    def __init__(
        self,
        serialized: bytes,
        max_batch_size: int,
        threads: int,
        device_id: int | None,
        weigh: Callable[[Any], tuple[int, str]] = lambda _body: (0, ""),
    ) -> None:
        """Deserialize and build.

        `weigh` tells of the bytes of an image how many pixels it has, and why it must not be decoded ("": it may be);
        it is asked only where the pipeline decodes images.

        Raises:
            Unsupported: nvidia.dali or a GPU is missing.
            Unusable: the bytes are no pipeline, or one of another version of DALI.
        """
        self._serialized = serialized
        self._options: dict[str, Any] = {
            "batch_size": max_batch_size,
            "num_threads": threads,
            "device_id": device_id,
            # One batch in, one batch out: with its usual look-ahead, run() waits for a second batch.
            "prefetch_queue_depth": 1,
            "exec_async": False,
            "exec_pipelined": False,
        }
        self._weigh = weigh if _DECODES_IMAGES.search(serialized) else lambda _body: (0, "")
        with warnings.catch_warnings():  # not in `_build`: it is for a time when nothing else runs in the process
            warnings.simplefilter("ignore")  # about CUDA libraries that a CPU pipeline does not use
            self._pipeline = self._build()

    def _build(self) -> Any:
        library = import_dali()
        try:
            pipeline = library.Pipeline.deserialize(self._serialized, **self._options)
            pipeline.build()
        except Exception as error:
            if _NEEDS_GPU.search(str(error)):
                raise Unsupported("the pipeline was made for a GPU, and DALI can use none here") from error
            raise Unusable(f"DALI refused the pipeline: {_reason(error)}") from error
        return pipeline

    def compare(self, inputs: Sequence[Edge], outputs: Sequence[Edge]) -> None:
        """Raise Unfit where the config's tensors and the pipeline's differ; what it leaves open is not compared."""
        for edge in inputs:
            if edge.dtype == np.object_:
                raise Unfit(f"input {edge.name!r} is TYPE_STRING, which DALI does not take")
            try:
                self._pipeline.input_feed_count(edge.name)
            except (KeyError, RuntimeError) as error:
                raise Unfit(f"the pipeline has no external_source of the name {edge.name!r}") from error
        found = self._pipeline.num_outputs
        if found != len(outputs):
            raise Unfit(f"the pipeline gives {found} outputs, and the config has {len(outputs)}")
        for edge, dtype, ndim in zip(outputs, self._pipeline.output_dtype(), self._pipeline.output_ndim(), strict=True):
            real = None if dtype is None else np.dtype(_numpy_type(dtype))
            if real is not None and real != edge.dtype:
                raise Unfit(f"output {edge.name!r} is {edge.dtype} in the config and {real} in the pipeline")
            if ndim is not None and ndim != edge.ndim:
                raise Unfit(f"output {edge.name!r} has {edge.ndim} dims in the config and {ndim} in the pipeline")

    def run(self, requests: Sequence[Samples]) -> list[list[Array] | Exception]:
        """Run requests, together where they fit together; per request its outputs [batch, ...] or its failure.

        Failures: SampleRefused (its sender's fault), MemoryError, RuntimeError.
        """
        rows = [
            {name: np.ascontiguousarray(array[index]) for name, array in request.items()}
            for request in requests
            for index in range(_size(request))
        ]
        weights = [self._weigh_all(row) for row in rows]
        outcomes: list[list[Array] | Exception] = [SampleRefused(why) if why else [] for _, why in weights]
        left = [index for index, (_, why) in enumerate(weights) if not why]
        while left:
            count = self._fitting([weights[index][0] for index in left])
            together, left = left[:count], left[count:]
            for index, outcome in zip(together, self._together([rows[index] for index in together]), strict=True):
                outcomes[index] = outcome
            if sum(weights[index][0] for index in together) > _KEPT_PIXELS:
                self._pipeline = self._build()  # DALI keeps buffers of the size that it once needed
        return [_joined([outcomes.pop(0) for _ in range(_size(request))]) for request in requests]

    def _weigh_all(self, row: Mapping[str, Array]) -> tuple[int, str]:
        found = [self._weigh(array) for array in row.values() if array.dtype == np.uint8 and array.ndim == 1]
        return sum(pixels for pixels, _ in found), next((why for _, why in found if why), "")

    def _fitting(self, pixels: Sequence[int]) -> int:
        """How many rows from the front run at once: at least one."""
        total = 0
        for count, each in enumerate(pixels[: self._options["batch_size"]]):
            total += each
            if total > _PIXELS_AT_ONCE:
                return max(1, count)
        return min(len(pixels), self._options["batch_size"] or 1)

    def _together(self, rows: Sequence[Mapping[str, Array]]) -> Sequence[list[Array] | Exception]:
        """One DALI batch: per row its outputs; where it fails, each row by itself."""
        try:
            for name in rows[0]:
                self._pipeline.feed_input(name, [row[name] for row in rows])
            outputs = [_copies(output.as_cpu(), len(rows)) for output in self._pipeline.run()]
            return [list(row) for row in zip(*outputs, strict=True)]
        except Exception as error:
            self._pipeline = self._build()
            if len(rows) == 1:
                return [_blamed(error)]
        return [self._together([row])[0] for row in rows]


def _copies(output: Any, rows: int) -> Sequence[Array]:
    """A copy of each row of an output, whose memory is the pipeline's; of all at once where they have one shape."""
    if output.is_dense_tensor():
        return list(output.as_array())
    return [np.array(output.at(index)) for index in range(rows)]


def _blamed(error: Exception) -> Exception:
    """Why a row failed that ran alone: its own data, unless memory or the device is to blame."""
    text = str(error)
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return MemoryError(_reason(error))
    if _OPERATOR.search(text) is None or _DEVICE_TROUBLE.search(text):
        return RuntimeError(f"DALI failed: {_reason(error)}")
    return SampleRefused(_reason(error))


def _size(request: Samples) -> int:
    return len(next(iter(request.values())))


def _joined(rows: Sequence[list[Array] | Exception]) -> list[Array] | Exception:
    """The outcome of a request: its rows' outputs, stacked, or the first failure."""
    good: list[list[Array]] = []
    for index, row in enumerate(rows):
        if isinstance(row, Exception):
            return row if len(rows) == 1 else type(row)(f"entry {index} of the batch: {row}")
        good.append(row)
    return _stacked(list(zip(*good, strict=True)))


def _stacked(outputs: Sequence[Sequence[Array]]) -> list[Array] | Exception:
    for samples in outputs:
        shapes = {sample.shape for sample in samples}
        if len(shapes) > 1:
            return SampleRefused(
                f"the entries of one batch give outputs of different shapes ({sorted(shapes)}): "
                "send them in requests of their own"
            )
    return [samples[0][None] if len(samples) == 1 else np.stack(samples) for samples in outputs]


def _numpy_type(dtype: Any) -> Any:
    return importlib.import_module("nvidia.dali.types").to_numpy_type(dtype)


def _reason(error: BaseException) -> str:
    """DALI's message without its trace, which tells paths of the machine that wrote the pipeline."""
    text = str(error)
    operator, reason = _OPERATOR.search(text), _REASON.search(text)
    words = " ".join((reason.group(1) if reason else text.split("C++ context", maxsplit=1)[0]).split())[:500]
    if operator is None:
        return words
    if "decoders" in operator.group(1) or "peek_image" in operator.group(1):
        return f"an image does not decode: it is damaged, cut off, or of a format that is not read ({words})"
    return f"operator {operator.group(1)}: {words}"

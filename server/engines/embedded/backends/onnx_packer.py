"""Makes packed weights in a process of its own, and proves them: `python -m ...onnx_packer < order`.

What ONNX Runtime 1.31 writes is not always fit to be mapped: where a matrix is no multiple of 64 bytes long, its packed
form begins somewhere between, and the first run ends the process (SIGSEGV). So this process looks at the offsets, runs
a real request through the new sessions, and compares with what the archive's own graph computes. It has low priority:
others serve meanwhile.
"""

import contextlib
import os
import pickle
import re
import resource
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.engines.embedded.backends.onnx_options import session_options
from server.engines.embedded.backends.onnx_packing import Order, narrow_session, wide_session, write_packed, write_split

_NICENESS: Final = 10
_ALIGNMENT: Final = 64
_BLOB_OFFSETS: Final = re.compile(rb"[|](\d+);\d+;\d+")
"""In a value of `external_data` with a key `prepacked_...`: `kernel+hash|offset;length;flag|offset;...`."""
_TOLERANCE: Final = 1e-3
"""Of the largest value: different numbers of threads may add in different orders."""
_SPLIT_TOLERANCE: Final = 1e-4
"""Of the largest value: a product split in two has 16 bits of the 24. In MiniLM's vectors 1e-5 were seen."""


def pack(order: Order) -> str:
    """Write and prove; returns what is wrong with it, or nothing.

    Split products are tried first. Where a graph has none, or its outputs change too much by them, its weights are
    packed as ONNX Runtime does it.
    """
    source, graph, config = Path(order.source), Path(order.graph), ModelConfig.FromString(order.config)
    if order.split_library is not None and write_split(source, config, graph):
        if not _differs(order, config, _SPLIT_TOLERANCE):
            return ""
        for path in graph.parent.iterdir():
            path.unlink()
    write_packed(source, config, graph)
    offsets = [int(offset) for offset in _BLOB_OFFSETS.findall(graph.read_bytes())]
    if not offsets:
        return "the runtime packs nothing of this graph"
    if any(offset % _ALIGNMENT for offset in offsets):
        return "the runtime wrote packed weights where it could not read them"
    return _differs(order, config, _TOLERANCE)


def _differs(order: Order, config: ModelConfig, tolerance: float) -> str:
    graph, library = Path(order.graph), order.split_library
    wide, narrow = wide_session(config, order.threads, graph, library), narrow_session(config, graph, library)
    names, feed = list(order.sample.names), dict(order.sample.feed)
    expected = _own_session(Path(order.source), config).run(names, feed)
    for session in (narrow, wide):
        for name, one, other in zip(names, expected, session.run(names, feed), strict=True):
            if not is_same(one, other, tolerance):
                return f"packed weights change output {name!r}"
    return ""


def is_same(one: Any, other: Any, tolerance: float = _TOLERANCE) -> bool:
    """Whether two outputs of the graph are equal up to rounding. Arrays of any datatype, or None."""
    if one is None or other is None:
        return one is other
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind != "f" or not one.size:
        return bool(np.array_equal(one, other))
    scale = np.nanmax(np.abs(one), initial=0.0, where=np.isfinite(one))
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * float(scale), equal_nan=True))


def _own_session(source: Path, config: ModelConfig) -> ort.InferenceSession:
    return ort.InferenceSession(str(source), session_options(config, 1), providers=["CPUExecutionProvider"])


def main() -> int:
    """Read the order, do it, and say on stderr what went wrong."""
    os.nice(_NICENESS)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        wrong = pack(pickle.load(sys.stdin.buffer))  # noqa: S301 (from the server, who started this)
    except Exception as error:
        wrong = " ".join(str(error).split()) or type(error).__name__
    if wrong:
        sys.stderr.write(f"{wrong}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""The peers that can be measured here.

To add one (MLServer, LitServe, Ray Serve, BentoML, TorchServe, Infinity): make an environment of its own for it, since
their pins contradict ours (`python -m venv var/peers/NAME`, then its packages); write the few lines that serve
`Files.graph` with `Files.tokenizer` as its documentation says, tuned for this number of cores; start them with that
environment's Python through `server_process`; and add a line to `PEERS` whose `missing` says so where the environment
is not there. Whoever compares says which versions ran.
"""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.baselines.bare_triton import TRITON
from benchmarks.baselines.own_triton import own_triton
from benchmarks.baselines.peers.fastapi_onnxruntime import as_text
from benchmarks.baselines.peers.peer import Address, Files, Peer
from benchmarks.baselines.peers.server_process import server_process
from benchmarks.payloads import archive_file

_THREE_STEP: Final = "minilm-three-step"


@contextmanager
def _fastapi(files: Files, threads: int) -> Iterator[Address]:
    module = "benchmarks.baselines.peers.fastapi_onnxruntime"
    with server_process(["-m", module, str(files.graph), str(files.tokenizer), str(threads)]) as port:
        yield Address(port, "/embed", body=as_text)


@contextmanager
def _triton(files: Files) -> Iterator[Address]:  # noqa: ARG001 - its archive has the same graph without the pooling
    """The walk-through's ensemble: tokenise and pool in Python steps around the encoder."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive_file(f"{_THREE_STEP}.tar.gz")) as packed:
            packed.extractall(folder, filter="data")
        with own_triton(Path(folder), _THREE_STEP) as triton:
            yield Address(triton.http_port, f"/v2/models/{_THREE_STEP}/infer")


PEERS: Final = (
    Peer("FastAPI + onnxruntime, 1 thread per call", partial(_fastapi, threads=1)),
    Peer("FastAPI + onnxruntime, default threads", partial(_fastapi, threads=0)),
    Peer("Triton, three-step ensemble", _triton, lambda: "" if TRITON.is_dir() else "no .triton here: make triton"),
)


def peers_here() -> list[Peer]:
    """Those that can run on this machine."""
    return [peer for peer in PEERS if not peer.missing()]

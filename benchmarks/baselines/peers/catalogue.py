"""The peers, from those that start at once to those that take gigabytes.

To add one: write its program into `apps/`, as small as its documentation's example and tuned for two cores; a function
that starts it and yields its address beside those of its kind; and a line here, whose pins make its environment. What
cannot be installed is told as not measured, with pip's reason.
"""

from functools import partial
from importlib.metadata import version
from typing import Final

from benchmarks.baselines.peers import java_servers, python_servers, tritons
from benchmarks.baselines.peers.environments import is_made
from benchmarks.baselines.peers.peer import Peer

_MODEL: Final = (f"onnxruntime=={version('onnxruntime')}", f"tokenizers=={version('tokenizers')}", "numpy<2")
"""The engine is the same for all: what differs is the server."""
_TORCH: Final = "torch==2.13.0"

PEERS: Final = (
    Peer(
        "fastapi",
        "FastAPI + onnxruntime, 1 thread per call",
        partial(python_servers.fastapi, threads=1),
        is_quick=True,
    ),
    Peer("fastapi-default", "FastAPI + onnxruntime, default threads", partial(python_servers.fastapi, threads=0)),
    Peer(
        "triton-single",
        "Triton, one Python model, hand-tuned",
        tritons.single,
        tritons.missing,
        is_quick=True,
    ),
    Peer("triton", "Triton, three-step ensemble", tritons.three_step, tritons.missing),
    Peer("triton-sagemaker", "Triton's SageMaker endpoint, same ensemble", tritons.sagemaker, tritons.missing),
    Peer("litserve", "LitServe", python_servers.litserve, packages=("litserve==0.2.19", *_MODEL)),
    Peer("mlserver", "MLServer", python_servers.mlserver, packages=("mlserver==1.7.1", "uvloop<0.22", *_MODEL)),
    Peer("bentoml", "BentoML", python_servers.bentoml, packages=("bentoml==1.4.30", *_MODEL)),
    Peer("ray", "Ray Serve", python_servers.ray_serve, packages=("ray[serve]==2.60.0", *_MODEL)),
    Peer(
        "infinity",
        "Infinity",
        python_servers.infinity,
        packages=(
            "infinity-emb[server,optimum]==0.0.78",
            "optimum==1.24.0",
            _TORCH,
            f"onnxruntime=={version('onnxruntime')}",
        ),
    ),
    Peer(
        "mms",
        "multi-model-server",
        java_servers.multi_model_server,
        java_servers.missing,
        ("multi-model-server==1.1.11", "setuptools<81", *_MODEL),
    ),
    Peer(
        "torchserve",
        "TorchServe",
        java_servers.torchserve,
        java_servers.missing,
        ("torchserve==0.12.0", _TORCH, "setuptools<81", *_MODEL),
    ),
)


def named(keys: tuple[str, ...]) -> tuple[Peer, ...]:
    """Those named, in the table's order; all for no names.

    Raises:
        ValueError: there is no such peer; names those that there are.
    """
    known = {peer.key: peer for peer in PEERS}
    if unknown := [key for key in keys if key not in known]:
        raise ValueError(f"{unknown[0]!r} is not a peer; there are: {', '.join(known)}")
    return tuple(peer for peer in PEERS if not keys or peer.key in keys)


def peers_here() -> list[Peer]:
    """Those that can run on this machine now, without installing anything, in our own environment or Triton's."""
    return [peer for peer in PEERS if not peer.packages and is_made(peer) and not peer.missing()]

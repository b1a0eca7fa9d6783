"""Which GPU this host has. `nvidia-smi` tells; NVIDIA's drivers bring it, and containers get it with `--gpus`."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import click

_QUERY = ("--query-gpu=name,compute_cap", "--format=csv,noheader")


@dataclass(frozen=True, slots=True)
class Gpu:
    """A kind of GPU: its name, and its compute capability as "9.0"."""

    name: str
    compute_capability: str


class NoUsableGpu(click.ClickException):
    """There is no GPU to compile for, or more than one kind of them."""


def ask_nvidia_smi() -> str:
    """One line per GPU, "" where there is no driver."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    try:
        return subprocess.run([tool, *_QUERY], capture_output=True, text=True, check=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise NoUsableGpu(f"nvidia-smi is there but does not answer: {error}") from error


def the_gpu(ask: Callable[[], str] = ask_nvidia_smi) -> Gpu:
    """The kind of GPU that plans are compiled for here.

    Raises:
        NoUsableGpu: no GPU, or GPUs of several kinds: then nobody could tell which one TensorRT takes.
    """
    kinds = {tuple(part.strip() for part in line.rsplit(",", 1)) for line in ask().splitlines() if "," in line}
    if not kinds:
        raise NoUsableGpu(
            "TensorRT plans are compiled on the GPU that will serve them, and this host shows none (nvidia-smi). "
            "Build with --accelerator onnxruntime-tensorrt, which compiles when the archive is loaded, or come back "
            "with a GPU (docs/gpu.md)"
        )
    if len(kinds) > 1:
        names = ", ".join(sorted(f"{name} ({capability})" for name, capability in kinds))
        raise NoUsableGpu(f"GPUs of several kinds are visible: {names}; show one to the container: --gpus device=0")
    name, capability = kinds.pop()
    return Gpu(name, capability)

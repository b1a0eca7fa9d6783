"""What every test of this folder needs: a GPU. Where there is none, each says so and is skipped."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest


def gpu_names():
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout.splitlines()


@pytest.fixture(scope="session")
def gpu():
    names = gpu_names()
    if not names:
        pytest.skip("no GPU: nvidia-smi shows none (docs/gpu.md says how to run these tests)")
    return names[0]


@pytest.fixture(scope="session")
def tensorrt(gpu):
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("TensorRT's Python module is not installed (docs/gpu.md, the image `roundhouse-compile`)")
    return pytest.importorskip("tensorrt")


@pytest.fixture(scope="session")
def triton_flags(gpu):
    """Flags that start Triton with its GPU backends: NVIDIA's container has them, the pip Triton does not."""
    if not Path("/opt/tritonserver/backends/onnxruntime").is_dir():
        pytest.skip("not inside NVIDIA's Triton container: no GPU backends")
    return ("--engine", "triton")

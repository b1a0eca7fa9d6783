"""A tritonserver of its own, beside the one that Roundhouse supervises: same binary, backends and environment.

An idle Roundhouse with an empty store is started for that, since it knows how to find and to equip a Triton; its
command line is then repeated with another repository, other ports, and the SageMaker endpoint switched on. Triton is
set as in its documentation: all models of the repository are loaded at the start.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Final
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.baselines.bare_triton import supervised_pid
from benchmarks.load.processes import free_port, started

_PATIENCE_S: Final = 120.0
_CHANGED: Final = ("model-repository", "model-control-mode", "http-port", "http-address", "allow-grpc", "grpc-")
_SHARED_MEMORY: Final = "python,shm-region-prefix-name="


@dataclass(frozen=True, slots=True)
class OwnTriton:
    """A Triton that is ready."""

    pid: int
    http_port: int
    sagemaker_port: int
    """Its SageMaker endpoint serves the model that `own_triton` was told."""


@contextmanager
def own_triton(repository: Path, model: str) -> Iterator[OwnTriton]:
    """Serve all models of `repository`; `model` is what `/invocations` means. Ended in the end, by process id.

    Raises:
        RuntimeError: it ended, or was not ready in two minutes; names the end of its log.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "empty").mkdir()
        with started(str(root / "empty"), "--cache-dir", str(root / "cache"), "--engine", "triton") as roundhouse:
            pid = supervised_pid(roundhouse.port)
            http_port, sagemaker_port = free_port(), free_port()
            command = [*_repeated(pid), f"--model-repository={repository}", "--allow-grpc=false"]
            command += ["--model-control-mode=none", "--http-address=127.0.0.1", f"--http-port={http_port}"]
            command += ["--allow-sagemaker=true", f"--sagemaker-port={sagemaker_port}"]
            command += [f"--backend-config={_SHARED_MEMORY}bench{os.getpid()}"]
            environ = _environ(pid) | {"SAGEMAKER_TRITON_DEFAULT_MODEL_NAME": model}
            log = root / "triton.log"
            with log.open("wb") as file:
                process = subprocess.Popen(command, stdout=file, stderr=file, env=environ, start_new_session=True)
            try:
                _wait(process, f"http://127.0.0.1:{http_port}/v2/models/{model}/ready", log)
                _wait(process, f"http://127.0.0.1:{sagemaker_port}/ping", log)
                yield OwnTriton(process.pid, http_port, sagemaker_port)
            finally:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _repeated(pid: int) -> list[str]:
    words = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    kept = [word for word in words if not word.startswith(tuple(f"--{name}" for name in _CHANGED))]
    return [word for word in kept if _SHARED_MEMORY not in word]


def _environ(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = perf_counter() + _PATIENCE_S
    while process.poll() is None and perf_counter() < until:
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, OSError):
            sleep(0.2)
    raise RuntimeError(f"Triton does not answer {address}: {log.read_text(errors='replace')[-1500:]}")

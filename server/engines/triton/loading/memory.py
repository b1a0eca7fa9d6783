"""What a step takes: predicted from its files and config, measured from tritonserver's process tree."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

import psutil
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.model import CPU, Footprint, Step
from server.engines.process_memory import mapped_below, own_bytes
from server.engines.triton.repository.config_rewrite import instance_devices

STUB_BYTES: Final = 28 * 1024**2
"""A Python stub, libraries not included: 19 MB were seen with numpy, 28 MB with ONNX Runtime."""
FILE_FACTOR: Final = 1.3
"""A graph in memory against its file: weights, plus packed copies and buffers."""


def predict(step: Step, config: ModelConfig, *, is_stub: bool, gpus: int) -> Footprint:
    """What `step` will take. `is_stub`: each of its instances is a process of its own."""
    if step.predicted.bytes_by_device:
        return step.predicted
    per_instance = int(step.file_bytes * FILE_FACTOR)
    taken: dict[str, int] = {CPU: 0}
    for device in instance_devices(config, gpus):
        taken[device] = taken.get(device, 0) + per_instance
        taken[CPU] += STUB_BYTES if is_stub else 0
    return Footprint(taken)


def stubs(server_pid: int, model_folder: Path) -> list[psutil.Process]:
    """The Python stubs that run the model in that folder: Triton names its file on their command line."""
    prefix = f"{model_folder}/"
    return [stub for stub in _children(server_pid) if _runs_below(stub, prefix)]


def step_bytes(server_pid: int, model_folder: Path, staged: Path) -> int:
    """Memory of one model outside tritonserver's own heap: its stubs, and the files that are mapped.

    `model_folder`: its files for Triton, links to those that are `staged`.
    """
    running = stubs(server_pid, model_folder)
    own = sum(own_bytes(stub.pid) for stub in running)
    return own + sum(mapped_below([model_folder, staged], pid) for pid in (server_pid, *(stub.pid for stub in running)))


def family_bytes(server_pid: int, model_folders: Collection[Path], staged: Collection[Path]) -> int:
    """Memory of tritonserver with all models in these folders."""
    prefixes = tuple(f"{folder}/" for folder in model_folders)
    running = [stub for stub in _children(server_pid) if prefixes and _runs_below(stub, prefixes)]
    pids = [server_pid, *(stub.pid for stub in running)]
    return sum(own_bytes(pid) + mapped_below([*model_folders, *staged], pid) for pid in pids)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _runs_below(process: psutil.Process, prefix: str | tuple[str, ...]) -> bool:
    try:
        return not _is_zombie(process) and any(word.startswith(prefix) for word in process.cmdline())
    except psutil.Error:
        return False

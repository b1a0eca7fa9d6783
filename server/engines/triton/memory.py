"""What a step takes: predicted from its files and config, measured from tritonserver's process tree."""

from pathlib import Path
from typing import Final

import psutil
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.model import CPU, Footprint, Step
from server.engines.triton.config_rewrite import instance_devices

STUB_BYTES: Final = 70 * 1024**2
"""A Python stub with numpy and a model's usual imports: 60 to 80 MB were seen."""
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


def process_bytes(pid: int) -> int:
    """Proportional set size of one process (shared pages are divided among their users); 0 if it is gone."""
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except (psutil.Error, AttributeError):
        return 0


def stubs(server_pid: int, model_folder: Path) -> list[psutil.Process]:
    """The Python stubs that run the model in that folder: Triton names its file on their command line."""
    prefix = f"{model_folder}/"
    return [stub for stub in _children(server_pid) if _runs_below(stub, prefix)]


def stub_bytes(server_pid: int, model_folder: Path) -> int:
    """Memory of all stubs of one model."""
    return sum(process_bytes(stub.pid) for stub in stubs(server_pid, model_folder))


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


def _runs_below(process: psutil.Process, prefix: str) -> bool:
    try:
        return not _is_zombie(process) and any(word.startswith(prefix) for word in process.cmdline())
    except psutil.Error:
        return False

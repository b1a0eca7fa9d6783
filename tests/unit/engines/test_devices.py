"""What a host has: a container's limit counts, and GPUs are what CUDA's driver says, here a made-up one."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from server.engines import ask_cuda
from server.engines.ask_cuda import CudaError, rows
from server.engines.devices import Gpu, budgets, gpus, host_memory_bytes
from server.engines.embedded.config.devices import look_around

MACHINE = psutil.virtual_memory().total


@pytest.mark.parametrize(("text", "expected"), [("1073741824\n", 1024**3), ("max\n", MACHINE), (str(2**62), MACHINE)])
def test_the_containers_limit_counts_where_it_is_smaller(tmp_path, text, expected):
    limit = tmp_path / "memory.max"
    limit.write_text(text)
    assert host_memory_bytes((limit, tmp_path / "absent")) == expected


class FakeDriver:
    """CUDA's driver library with GPUs of these sizes; `fails` names the call that does not work."""

    def __init__(self, *sizes, no_device=False, fails=""):
        self.sizes = sizes
        self.no_device = no_device
        self.fails = fails

    def _status(self, call):
        return 999 if self.fails == call else 0

    def cuInit(self, flags):  # noqa: N802 - the driver's name
        assert flags == 0
        return 100 if self.no_device else self._status("cuInit")

    def cuDeviceGetCount(self, count):  # noqa: N802 - the driver's name
        count._obj.value = len(self.sizes)
        return self._status("cuDeviceGetCount")

    def cuDeviceGet(self, device, index):  # noqa: N802 - the driver's name
        device._obj.value = index + 7
        return self._status("cuDeviceGet")

    def cuDeviceTotalMem_v2(self, total, device):  # noqa: N802 - the driver's name
        total._obj.value = self.sizes[device.value - 7]
        return self._status("cuDeviceTotalMem")

    def cuDeviceGetAttribute(self, number, attribute, device):  # noqa: N802 - the driver's name
        number._obj.value = {75: 9, 76: device.value - 7}[attribute]
        return self._status("cuDeviceGetAttribute")

    def cuDeviceGetName(self, name, size, device):  # noqa: N802 - the driver's name
        name.value = f"GPU, number {device.value - 7}".encode()[:size]
        return self._status("cuDeviceGetName")


CALLS = (
    "cuInit",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceTotalMem",
    "cuDeviceGetAttribute",
    "cuDeviceGetName",
)


def test_gpus_are_listed_in_the_drivers_order():
    printed = "\n".join(rows(FakeDriver(80 * 2**30, 24 * 2**30)))
    assert gpus(lambda: printed) == [
        Gpu(80 * 2**30, "9.0", "GPU, number 0"),
        Gpu(24 * 2**30, "9.1", "GPU, number 1"),
    ]


def test_a_driver_without_a_gpu_is_no_error():
    assert list(rows(FakeDriver(1, no_device=True))) == []


@pytest.mark.parametrize("call", CALLS)
def test_a_driver_that_does_not_work_is_named(call):
    with pytest.raises(CudaError, match=f"{call} .*999"):
        list(rows(FakeDriver(1, fails=call)))


@pytest.mark.parametrize("output", ["", "nonsense\n", "8\n", "x,9.0,y\n"])
def test_what_is_no_row_is_no_gpu(output):
    assert gpus(lambda: output) == []


def test_the_program_runs_by_itself():
    asked = subprocess.run([sys.executable, "-I", "-S", ask_cuda.__file__], capture_output=True, text=True, check=False)
    assert asked.returncode == 1 or len(asked.stdout.splitlines()) == len(gpus())
    assert "Traceback" not in asked.stderr


def test_the_embedded_engine_takes_the_count_that_it_is_given():
    assert look_around(gpus=3).gpus == 3


def test_only_one_file_counts_gpus():
    server = Path(sys.modules[budgets.__module__].__file__).parents[1]
    tellers = ("memory.total", "/dev/nvidia", "cuDeviceGetCount", "device_count(", "pynvml")
    counting = {
        path.relative_to(server).as_posix()
        for path in server.rglob("*.py")
        if any(teller in line for line in path.read_text().splitlines() for teller in tellers)
    }
    assert counting == {"engines/ask_cuda.py"}


def test_a_share_of_each_gpu_becomes_its_budget():
    assert budgets(host=1, per_gpu=None, gpu_share=0.5, gpu_totals=lambda: [100, 60]) == {
        "cpu": 1,
        "gpu:0": 50,
        "gpu:1": 30,
    }


def test_bytes_per_gpu_beat_the_share():
    assert budgets(host=1, per_gpu=7, gpu_share=0.5, gpu_totals=lambda: [100])["gpu:0"] == 7


def test_a_share_of_no_gpu_is_nothing():
    assert budgets(host=1, per_gpu=None, gpu_share=0.5, gpu_totals=list) == {"cpu": 1}


def test_a_given_budget_is_taken_as_it_is():
    assert budgets(host=123, per_gpu=None, gpu_totals=list)["cpu"] == 123

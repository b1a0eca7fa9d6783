"""What a host has: a container's limit counts, and GPUs are read from recorded nvidia-smi output."""

import psutil
import pytest

from server.engines.devices import budgets, gpu_memory_bytes, host_memory_bytes

MACHINE = psutil.virtual_memory().total


@pytest.mark.parametrize(("text", "expected"), [("1073741824\n", 1024**3), ("max\n", MACHINE), (str(2**62), MACHINE)])
def test_the_containers_limit_counts_where_it_is_smaller(tmp_path, text, expected):
    limit = tmp_path / "memory.max"
    limit.write_text(text)
    assert host_memory_bytes((limit, tmp_path / "absent")) == expected


@pytest.mark.parametrize(("output", "expected"), [("81559\n81559\n", [81559 * 1024**2] * 2), ("", []), ("[N/A]\n", [])])
def test_gpus_are_listed_in_their_order(output, expected):
    assert gpu_memory_bytes(lambda: output) == expected


def test_a_given_budget_is_taken_as_it_is():
    assert budgets(host=123, per_gpu=None)["cpu"] == 123

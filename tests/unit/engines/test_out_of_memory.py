"""What an engine's error text says about memory."""

import pytest

from server.domain.errors import DeviceFull, InferenceFailed, InvalidRequest, LoadFailed
from server.engines.embedded.python_steps.full_device import full_device_told
from server.engines.out_of_memory import says_on_gpu, says_out_of_memory


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 MiB",
        "MemoryError: no room",
        "failed to allocate memory",
        "OOM when allocating tensor",
        "memory limit set for KIND_GPU 0 has exceeded, model loading is rejected.",
        "numpy: Unable to allocate 8.00 GiB for an array",
        "std::bad_alloc",
    ],
)
def test_words_that_say_that_memory_ran_out(text):
    assert says_out_of_memory(f"step 'BLOOM': {text}", ["BLOOM"])


@pytest.mark.parametrize(
    "text", ["step 'ROOM' was not found", "BLOOM refused", "ValueError: no ZOOM level", "OOM: step failed"]
)
def test_names_do_not_count(text):
    assert not says_out_of_memory(text, ["OOM"])


@pytest.mark.parametrize(
    ("text", "is_gpu"), [("CUDA out of memory", True), ("MemoryError", False), ("CUDA step: x", False)]
)
def test_whether_a_gpu_is_meant(text, is_gpu):
    assert says_on_gpu(text, ["CUDA step"]) is is_gpu


@pytest.mark.parametrize("kind", [LoadFailed, InferenceFailed])
def test_a_python_step_that_says_so_has_filled_its_device(kind):
    with pytest.raises(DeviceFull, match="step"), full_device_told("step"):
        raise kind("step 'step': MemoryError: no room")


@pytest.mark.parametrize("error", [LoadFailed("step 'OOM': raised"), InvalidRequest("out of memory")])
def test_other_failures_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, full_device_told("OOM"):
        raise error
    assert caught.value is error

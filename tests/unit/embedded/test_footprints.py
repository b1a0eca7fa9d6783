"""What is predicted, what is charged, and what the process really holds."""

import mmap
from pathlib import Path

import pytest

from server.archive.model_config import parse
from server.domain.model import NOTHING, Footprint, ModelSignature, Step, StepDigest
from server.engines.embedded.memory import host_memory
from server.engines.embedded.memory.footprint import measured, predicted

MB = 1 << 20


def step(backend="onnxruntime", file_bytes=100 * MB, known=NOTHING):
    signature = ModelSignature("", 0, (), ())
    return Step(StepDigest("d"), "m", backend, Path("/none"), signature, file_bytes=file_bytes, predicted=known)


def test_what_was_measured_once_is_predicted():
    assert predicted(step(known=Footprint({"cpu": 7})), None, "cpu") == Footprint({"cpu": 7})


def test_an_onnx_step_takes_a_little_more_than_its_files():
    assert 100 * MB < predicted(step(), None, "cpu").on("cpu") < 110 * MB


def test_on_a_gpu_the_weights_lie_there():
    guess = predicted(step(), None, "gpu:0")
    assert guess.on("gpu:0") > 100 * MB
    assert guess.on("cpu") < 10 * MB


def test_a_python_step_brings_a_process_unless_it_runs_in_this_one():
    inside = parse('parameters { key: "EXECUTION" value: { string_value: "in-process" } }')
    assert predicted(step("python", 0), inside, "cpu").on("cpu") < 2 * MB
    assert predicted(step("python", 0), parse(""), "cpu").on("cpu") > 20 * MB


@pytest.mark.parametrize(
    ("gained", "is_disturbed", "charged"),
    [(93 * MB, False, 93 * MB), (500 * MB, False, 500 * MB), (500 * MB, True, 125 * MB), (0, True, 75 * MB)],
)
def test_a_disturbed_measurement_stays_near_what_was_expected(gained, is_disturbed, charged):
    assert measured(step(), gained, 100 * MB, is_disturbed=is_disturbed) == charged


def test_the_buffers_of_a_dali_step_are_charged_before_its_first_picture():
    guess = predicted(step("dali", 4000), None, "cpu").on("cpu")
    assert measured(step("dali", 4000), 2 * MB, guess, is_disturbed=False) == guess > 10 * MB
    assert predicted(step("dali", 4000), None, "gpu:0").on("gpu:0") > 100 * MB


@pytest.mark.parametrize(("file_bytes", "charged"), [(10, 64 << 10), (200_000, 200_000), (100 * MB, MB)])
def test_nothing_is_free(file_bytes, charged):
    assert measured(step(file_bytes=file_bytes), -5, 0, is_disturbed=False) == charged


def test_anonymous_memory_is_seen_and_its_return_too():
    before = host_memory.anonymous_bytes()
    with mmap.mmap(-1, 32 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        block.write(b"x" * (32 * MB))
        held = host_memory.anonymous_bytes() - before
    assert 32 * MB <= held < 40 * MB
    host_memory.collect_and_release()
    assert host_memory.anonymous_bytes() - before < 8 * MB


def test_mapped_files_of_a_step_are_counted_and_read_in(tmp_path):
    (tmp_path / "step").mkdir()
    path = tmp_path / "step" / "weights"
    path.write_bytes(b"w" * (4 * MB))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        assert host_memory.map_in(tmp_path / "step") == 4 * MB
        assert host_memory.map_in(tmp_path / "other") == 0
    assert host_memory.map_in(tmp_path / "step") == 0

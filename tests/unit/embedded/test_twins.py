"""Steps with equal configs and equally large files are measured a few times, not thousands of times."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.model import CPU, FileSha, Footprint, ModelSignature, Step, StepDigest, WeightFile
from server.engines.embedded.memory.known_footprints import KnownFootprints

MB = 1 << 20


def config(name, text='backend: "onnxruntime" max_batch_size: 8'):
    return text_format.Parse(f'name: "{name}" {text}', ModelConfig())


def step(number, backend="onnxruntime", file_bytes=4 * MB, weights=(4 * MB,), predicted=None):
    files = tuple(WeightFile(f"1/{at}.bin", FileSha(f"{number}-{at}"), size) for at, size in enumerate(weights))
    return Step(
        StepDigest(f"digest {number}"),
        f"head {number}",
        backend,
        Path("nowhere"),
        ModelSignature(backend, 8, (), ()),
        file_bytes=file_bytes,
        predicted=predicted or Footprint({}),
        weights=files,
    )


def known(*amounts):
    """After steps 1, 2, ... were measured with these amounts."""
    footprints = KnownFootprints()
    for number, amount in enumerate(amounts, 1):
        footprints.remember(step(number), config(f"head {number}"), amount)
    return footprints


def test_three_that_agree_speak_for_a_fourth():
    assert known(100 * MB, 101 * MB, 102 * MB).of(step(9), config("head 9")) == 102 * MB


def test_small_ones_agree_within_what_an_allocator_rounds():
    assert known(70_000, 90_000, 120_000).of(step(9), config("head 9")) == 120_000


@pytest.mark.parametrize(
    "amounts", [(), (MB,), (MB, MB), (100 * MB, 100 * MB, 106 * MB)], ids=["none", "one", "two", "at odds"]
)
def test_otherwise_it_is_measured(amounts):
    assert known(*amounts).of(step(9), config("head 9")) is None


def test_one_that_is_measured_again_and_again_counts_once():
    footprints = KnownFootprints()
    for _ in range(3):
        footprints.remember(step(1), config("head 1"), MB)
    assert footprints.of(step(9), config("head 9")) is None


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (step(9, file_bytes=4 * MB + 1), 'backend: "onnxruntime" max_batch_size: 8'),
        (step(9, weights=(3 * MB, MB)), 'backend: "onnxruntime" max_batch_size: 8'),
        (step(9), 'backend: "onnxruntime" max_batch_size: 4'),
    ],
    ids=["size", "weight files", "config"],
)
def test_another_kind_is_measured(other, text):
    assert known(MB, MB, MB).of(other, config("head 9", text)) is None


@pytest.mark.parametrize("backend", ["python", "dali"])
def test_what_other_peoples_code_takes_is_up_to_it(backend):
    footprints, text = (
        KnownFootprints(),
        f'backend: "{backend}" parameters {{ key: "EXECUTION" value {{ string_value: "in-process" }} }}',
    )
    for number in range(3):
        footprints.remember(step(number, backend), config("any", text), MB)
    assert footprints.of(step(9, backend), config("any", text)) is None
    assert footprints.of(step(1, backend), config("any", text)) == MB


def test_its_own_measurement_counts_before_its_twins():
    footprints = known(100 * MB, 101 * MB, 102 * MB, 103 * MB)
    assert footprints.of(step(4), config("head 4")) == 103 * MB
    told = step(9, predicted=Footprint({CPU: 99 * MB}, is_measured=True))
    assert footprints.of(told, config("head 9")) == 99 * MB

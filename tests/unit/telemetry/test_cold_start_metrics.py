"""Cold starts on the metrics page and in the header: where the time and the bytes went."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.api.server_timing import server_timing
from server.domain.cold_start import ColdStart, LoadTimes, Staging, StepStart
from server.domain.model import ModelSignature, Step, StepDigest
from server.telemetry.metrics import Metrics
from server.telemetry.residency_metrics import ResidencyMetrics

STAGING = Staging(0.5, 0.25, 0.02, 0.03, fetched_bytes=80, unpacked_bytes=90)
START = ColdStart(STAGING, 0.2, (StepStart("encoder", LoadTimes(0.15, 0.01), 90), StepStart('a"b\\ü', LoadTimes(), 1)))


def page(metrics):
    body, _ = metrics.page()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


@pytest.fixture
def told(tmp_path):
    metrics = Metrics()
    observer = ResidencyMetrics(metrics)
    metrics.cold_starts.staged(STAGING)
    signature = ModelSignature("", 0, (), ())
    step = Step(StepDigest("d"), "encoder", "onnxruntime", tmp_path, signature, file_bytes=90)
    observer.step_loaded(step, START.steps[0].times)
    observer.loaded("a", START)
    metrics.served("a", is_hit=False, waited_s=1.0, infer_s=0.04, total_s=1.05)
    metrics.served("a", is_hit=True, waited_s=0.0, infer_s=0.03, total_s=0.03)
    return page(metrics)


def test_every_phase_is_a_histogram(told):
    found = {key[1]: value for key, value in told.items() if key[0] == "roundhouse_cold_start_seconds_sum"}
    assert found == pytest.approx(
        {
            "fetch": 0.5, "unpack": 0.25, "digest": 0.02, "place": 0.03,
            "load": 0.2, "warm_up": 0.01, "first_inference": 0.04, "total": 1.05,
        }
    )  # fmt: skip
    assert told["roundhouse_cold_start_seconds_count", "total"] == 1
    buckets = [told["roundhouse_cold_start_seconds_bucket", bound, "unpack"] for bound in ("0.1", "0.25", "+Inf")]
    assert buckets == [0, 1, 1]


def test_bytes_are_counted_by_phase_and_loads_by_backend(told):
    moved = {key[1]: value for key, value in told.items() if key[0] == "roundhouse_moved_bytes_total"}
    assert moved == {"fetch": 80, "unpack": 90, "load": 90}
    assert told["roundhouse_step_loads_total", "onnxruntime"] == 1
    assert told["roundhouse_step_load_seconds_total", "onnxruntime"] == pytest.approx(0.15)


def test_the_sums_by_archive_stay(told):
    assert told["ModelLoadingTime_sum", "a"] == pytest.approx(0.2e6)
    assert told["ModelDownloadingTime_sum", "a"] == pytest.approx(0.8e6)


def test_the_header_is_well_formed_whatever_a_step_is_called():
    name, value = server_timing(START, waited_s=1.25, infer_s=0.04)
    assert name == b"server-timing"
    assert value.decode().split(", ") == [
        "fetch;dur=500.0",
        "unpack;dur=250.0",
        "digest;dur=20.0",
        "place;dur=30.0",
        "wait;dur=250.0",
        "load;dur=200.0",
        'step;desc="encoder";dur=150.0',
        'step;desc="a?b??";dur=0.0',
        "warm-up;dur=10.0",
        "infer;dur=40.0",
    ]


def test_what_lay_on_disk_has_no_phases_of_staging():
    _, value = server_timing(ColdStart(Staging(), 0.2, ()), waited_s=0.1, infer_s=0.04)
    assert value == b"wait;dur=0.0, load;dur=200.0, infer;dur=40.0"

"""The Prometheus page: SageMaker's names, bounded labels."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.telemetry.metrics import Level, Metrics
from server.telemetry.series import OTHER


def samples(metrics):
    body, _ = metrics.page()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_the_hit_ratio_is_sum_by_count():
    metrics = Metrics()
    metrics.served("a", is_hit=False, waited_s=2.0, infer_s=0.5, total_s=3.0)
    metrics.served("a", is_hit=True, waited_s=0.0, infer_s=0.5, total_s=1.0)
    page = samples(metrics)
    assert (page["ModelCacheHit_sum", "a"], page["ModelCacheHit_count", "a"]) == (1.0, 2.0)


def test_times_are_microseconds():
    metrics = Metrics()
    metrics.served("a", is_hit=False, waited_s=2.0, infer_s=0.5, total_s=3.0)
    page = samples(metrics)
    assert page["ModelLoadingWaitTime_sum", "a"] == pytest.approx(2e6)
    assert page["ModelLatency_sum", "a"] == pytest.approx(5e5)
    assert page["OverheadLatency_sum", "a"] == pytest.approx(5e5)


def test_names_that_callers_make_up_open_no_label():
    metrics = Metrics()
    metrics.failed("nonsense", ValueError(), 0.1)
    page = samples(metrics)
    assert page["ModelErrors_total", OTHER] == 1
    assert ("ModelErrors_total", "nonsense") not in page


def test_the_number_of_labels_is_bounded():
    metrics = Metrics(max_archives=3)
    for number in range(10_000):
        metrics.served(f"archive-{number}", is_hit=True, waited_s=0, infer_s=0, total_s=0)
    page = samples(metrics)
    names = {label for name, label, *_ in (key for key in page if len(key) == 2) if name == "ModelInvocations_total"}
    assert names == {"archive-0", "archive-1", "archive-2", OTHER}
    assert page["ModelInvocations_total", OTHER] == 9_997


def test_levels_are_asked_for_at_every_scrape():
    metrics = Metrics()
    charged = [1.0]
    metrics.watch(lambda: [Level("charged_bytes", "bytes", charged[0], "cpu"), Level("residents", "archives", 2)])
    assert samples(metrics)["charged_bytes", "cpu"] == 1.0
    charged[0] = 7.0
    page = samples(metrics)
    assert page["charged_bytes", "cpu"] == 7.0
    assert page["residents",] == 2.0


def test_two_servers_in_one_process_do_not_meet():
    first, second = Metrics(), Metrics()
    first.served("a", is_hit=True, waited_s=0, infer_s=0, total_s=0)
    assert ("ModelCacheHit_sum", "a") not in samples(second)


def test_openmetrics_is_written_on_request():
    body, content_type = Metrics().page("application/openmetrics-text; version=1.0.0")
    assert "openmetrics" in content_type
    assert body.endswith(b"# EOF\n")

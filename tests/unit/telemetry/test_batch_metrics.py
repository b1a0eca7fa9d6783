"""Batches on the metrics page."""

from server.telemetry.batch_metrics import BatchMetrics
from server.telemetry.metrics import Metrics


def test_rows_and_waits_are_counted_by_size():
    metrics = Metrics()
    batches = BatchMetrics(metrics)
    batches.ran(1, [0.0])
    batches.ran(3, [0.02, 0.3, 0.02])
    batches.ran(500, [60.0])
    page = metrics.page()[0].decode().splitlines()
    for line in (
        'roundhouse_batch_rows_bucket{le="1"} 1.0',
        'roundhouse_batch_rows_bucket{le="2"} 1.0',
        'roundhouse_batch_rows_bucket{le="4"} 2.0',
        'roundhouse_batch_rows_bucket{le="+Inf"} 3.0',
        "roundhouse_batch_rows_sum 504.0",
        'roundhouse_batch_queue_seconds_bucket{le="0.001"} 1.0',
        'roundhouse_batch_queue_seconds_bucket{le="0.025"} 3.0',
        "roundhouse_batch_queue_seconds_count 5.0",
    ):
        assert line in page

"""What workers answered is on the home process's pages as if it had answered itself."""

from server.telemetry.metrics import Metrics
from server.workers.home.uses_log import UsesLog
from server.workers.words import Uses


class Batches:
    def __init__(self):
        self.rows = []

    def ran(self, rows, waited_s):
        self.rows.append((rows, waited_s))


class Arrivals:
    def __init__(self):
        self.lines = []

    def asked(self, name, at):
        self.lines.append((name, at))


def test_reports_add_up_to_what_single_requests_would():
    by_report, by_request = Metrics(), Metrics()
    UsesLog(by_report, None, None).used("a", Uses(1, count=3, infer_s=0.6, overhead_s=0.03, errors=1))
    for _ in range(3):
        by_request.served("a", is_hit=True, waited_s=0.0, infer_s=0.2, total_s=0.21)
    by_request.failed("a", ValueError(), 0.1)
    one, other = by_report.statistics("a"), by_request.statistics("a")
    assert {name: round(value, 9) for name, value in one.items()} == {name: round(v, 9) for name, v in other.items()}
    assert by_report.sums.of("a").cache_hit.total == 3


def test_arrivals_and_batches_are_passed_on():
    batches, arrivals = Batches(), Arrivals()
    log = UsesLog(Metrics(), batches, arrivals)
    log.used("a", Uses(1, count=1, arrivals=[5.0, 6.0]))
    log.ran(4, [0.1])
    assert arrivals.lines == [("a", 5.0), ("a", 6.0)]
    assert batches.rows == [(4, [0.1])]

"""The third-party load generator: what it says is what was measured, and what it leaves behind is waited for."""

import http.server
import stat
import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.closed_loop import Load, outcome, outcome_of
from benchmarks.load.generator import VARIABLE, PythonLoops, chosen
from benchmarks.load.wrk import Wrk, WrkFailed, found, parsed, uncorrected
from benchmarks.scenarios.open_loop import arrivals

SAID = "Running 5s test\n@ 2000000 400 0 0.0\n= 900 300\n= 5100 100\n"


def corrected_as_wrk_does(raw, step):
    """Its `stats_correct`, on counts by latency."""
    counts = Counter(raw)
    for latency in range(step * 2, max(raw) + 1):
        made = latency - step
        while counts[latency] and made > step:
            counts[made] += counts[latency]
            made -= step
    return {latency: count for latency, count in counts.items() if count}


@given(
    latencies=st.lists(st.integers(1, 400), min_size=1, max_size=60),
    concurrency=st.integers(1, 8),
    slack=st.integers(0, 20),
)
def test_the_correction_is_undone_exactly(latencies, concurrency, slack):
    """A connection's requests follow each other, so the step is never below the mean; the rest is wrk's arithmetic."""
    duration = sum(latencies) // concurrency + slack + 1
    if len(latencies) // concurrency == 0:
        return
    step = duration // (len(latencies) // concurrency)
    raw = dict(Counter(latencies))
    seen = corrected_as_wrk_does(raw, max(step, 1))
    assert uncorrected(seen, duration, len(latencies), concurrency) == raw


def test_figures_of_counts_are_those_of_single_latencies():
    latencies = [0.001] * 97 + [0.050, 0.060, 0.070]
    counts = Counter(round(each * 1e6) for each in latencies)
    assert outcome_of(counts.items(), 2.0) == outcome(latencies, 2.0)


def test_what_it_prints_becomes_an_outcome():
    found = parsed("@ 2000000 400 0 0.0\n= 900 300\n= 1000 100\n", 1, 0.5)
    assert (found.requests_per_s, found.p50_ms, found.p99_ms, found.requests) == (200.0, 0.9, 1.0, 400)
    assert found.server_cpu_s == 0.5


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("@ 2000000 0 7 0.0\n", "nothing was answered; 7 failed"),
        ("@ 2000000 400 0 0.0\n= 900 3\n", "3 latencies of 400 answers"),
    ],
    ids=["none", "other-arithmetic"],
)
def test_what_does_not_add_up_is_refused(said, why):
    with pytest.raises(WrkFailed, match=why):
        parsed(said, 1)


def test_a_watched_run_lasts_until_its_last_answer():
    """The program itself went on until it was stopped."""
    assert parsed("@ 2000000 400 0 1.6\n= 900 400\n", 1).requests_per_s == 250.0


def test_failed_answers_are_counted_and_not_refused():
    assert parsed("@ 1000000 2 2 0.0\n= 900 2\n", 1).failed == 2


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers each POST with the status that its path names."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.server.seen.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(int(self.path[1:]))
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as served:
        served.seen = []
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def fake_wrk(tmp_path, body, slow_s=1e9):
    binary = tmp_path / "wrk"
    binary.write_text(f"#!/bin/sh\n{body}\n")
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    return Wrk(binary, slow_s=slow_s)


def load_on(server, status=200):
    return Load("127.0.0.1", server.server_port, f"/{status}", {"content-type": "text/plain"}, ["one", "two"], 2, 9.0)


def test_every_body_becomes_a_whole_request_and_the_server_is_left_idle(tmp_path, server):
    """The fake prints the requests that it was told of, by the lengths that it was told, on its way out."""
    script = f'for last; do :; done; echo "$@" > {tmp_path}/said; shift 8; cp "$1" {tmp_path}/requests; printf "{SAID}"'
    (got,) = fake_wrk(tmp_path, script).put_together([load_on(server)])
    assert (got.requests, got.p99_ms, server.seen) == (400, 5.1, [b"two", b"two"])
    *_, first, second = (tmp_path / "said").read_text().split()
    requests = (tmp_path / "requests").read_bytes()
    assert (len(requests), requests.endswith(b"\r\n\r\ntwo")) == (int(first) + int(second), True)
    assert requests[: int(first)].endswith(b"content-length: 3\r\n\r\none")


def test_slow_answers_are_watched_and_nothing_is_owed_after_them(tmp_path, server):
    fake_wrk(tmp_path, f'echo "$@" > {tmp_path}/said; printf "{SAID}"', slow_s=0.0).put_together([load_on(server)])
    assert (server.seen, (tmp_path / "said").read_text().split()[10]) == ([b"two"], "9.0")


def test_a_bad_end_is_told(tmp_path, server):
    with pytest.raises(WrkFailed, match="ended with 3: no such thing"):
        fake_wrk(tmp_path, "echo no such thing >&2; exit 3").put_together([load_on(server)])


def test_a_server_that_breaks_under_load_is_told(tmp_path, server):
    with pytest.raises(WrkFailed, match="before the load, /503 was answered 503"):
        fake_wrk(tmp_path, f'printf "{SAID}"').put_together([load_on(server, 503)])


def test_arrivals_of_an_open_loop_are_as_many_as_asked_for_and_the_same_again():
    due = arrivals(100.0, 20.0, seed=3)
    assert (len(due), due == sorted(due), due == arrivals(100.0, 20.0, seed=3)) == (2000, True, True)
    assert due[-1] == pytest.approx(20.0, rel=0.1)


def test_the_generator_can_be_named_and_says_what_it_is():
    assert chosen({VARIABLE: "python"}) == PythonLoops()
    assert "Python" in chosen({VARIABLE: "python"}).name
    with pytest.raises(RuntimeError, match="'hey'; there are: wrk, python"):
        chosen({VARIABLE: "hey"})


def test_an_own_one_comes_with_its_libraries(tmp_path):
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/lib/any").mkdir(parents=True)
    (tmp_path / "usr/lib/any/libluajit-5.1.so.2").touch()
    (tmp_path / "usr/bin/wrk").touch()
    assert found(tmp_path) == Wrk(tmp_path / "usr/bin/wrk", tmp_path / "usr/lib/any")

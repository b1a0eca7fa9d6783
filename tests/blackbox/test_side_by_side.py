"""Section 9 and 11: what Triton's front end does badly under concurrency, and we say that we do well."""

import http.client
import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from server.domain.clock import SystemClock
from tests.blackbox import steps
from tests.blackbox.archives import one
from tests.blackbox.client import outputs, text
from tests.fakes.repositories import echo_pipeline, linear_pipeline, onnx_linear
from tests.integration.until import until

PING_S = 0.5
PINGS = 60
IDLE_CONNECTIONS = 10


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as threads:
        yield threads


def gated(client):
    """A folder whose LOAD waits for a file."""
    gate = client.path("gate")
    model, url = client.place(one(lambda folder: steps.gated(folder, gate)))
    return model, url, gate


def slowest_ping(client, is_over=lambda: True) -> float:
    """Ping over connections that were idle before, until `is_over`; returns the longest answer in seconds."""
    clock, longest = SystemClock(), 0.0
    connections = [
        http.client.HTTPConnection("127.0.0.1", client.live.port, timeout=10) for _ in range(IDLE_CONNECTIONS)
    ]
    try:
        for number in itertools.count():
            if number >= PINGS and is_over():
                break
            connection = connections[number % len(connections)]
            began = clock.now()
            connection.request("GET", "/ping")
            answer = connection.getresponse()
            answer.read()
            longest = max(longest, clock.now() - began)
            assert answer.status == 200
    finally:
        for connection in connections:
            connection.close()
    return longest


def test_a_load_delays_neither_pings_nor_other_models(multi, pool, record_testsuite_property):
    assert multi.ask("linear.tar.gz").status_code == 200
    model, url, gate = gated(multi)
    loading = pool.submit(multi.load, model, url, "slow.tar.gz")
    try:
        until(Path(f"{gate}.waiting").exists, what="the load")
        longest = slowest_ping(multi)
        assert multi.ask("linear.tar.gz").status_code == 200
        assert not loading.done()
        assert multi.get(f"/models/{model}").status_code == 404
        assert multi.unload(model).status_code == 404
        assert model not in multi.get("/models").text
        assert multi.load(model, url, "slow.tar.gz").status_code == 409
    finally:
        gate.touch()
    assert loading.result().status_code == 200
    record_testsuite_property(f"slowest ping during LOAD, {multi.engine}, s", round(longest, 4))
    assert longest < PING_S
    multi.let_go(model)


def test_a_load_that_works_hard_delays_no_ping(multi, pool, record_testsuite_property):
    """48 MB of weights are hashed, laid out and loaded meanwhile."""
    model, url = multi.place(one(lambda folder: onnx_linear(folder, seed=90, ballast_bytes=48 << 20)))
    loading = pool.submit(multi.load, model, url, "heavy.tar.gz")
    longest = slowest_ping(multi, loading.done)
    assert loading.result().status_code == 200
    record_testsuite_property(f"slowest ping during a heavy LOAD, {multi.engine}, s", round(longest, 4))
    assert longest < PING_S
    multi.let_go(model)


def test_an_unload_waits_for_a_running_request_and_delays_nobody_else(multi, pool):
    gate = multi.path("gate")
    model, url = multi.place(one(steps.moody))
    assert multi.load(model, url, "busy.tar.gz").status_code == 200
    running = pool.submit(multi.invoke, model, text(f"wait {gate}"))
    try:
        until(Path(f"{gate}.waiting").exists, what="the request")
        unloading = pool.submit(multi.unload, model)
        until(lambda: multi.get(f"/models/{model}").status_code == 404, what="the unload")
        assert slowest_ping(multi) < PING_S
        assert multi.ask("linear.tar.gz").status_code == 200
        assert multi.invoke(model).status_code == 404
        assert not unloading.done()
        assert not running.done()
    finally:
        gate.touch()
    assert outputs(running.result())
    assert unloading.result().status_code == 200


def test_unloading_twice_at_once_is_harmless(multi, pool):
    model, url = multi.place(one(onnx_linear))
    assert multi.load(model, url).status_code == 200
    answers = [each.result() for each in [pool.submit(multi.unload, model) for _ in range(4)]]
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]
    assert multi.get("/ping").status_code == 200


def test_loading_twice_at_once_loads_once(multi, pool):
    model, url = multi.place(one(steps.moody))
    answers = [each.result() for each in [pool.submit(multi.load, model, url) for _ in range(4)]]
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert multi.unload(model).status_code == 200


def processes(client) -> set[int]:
    """Everything that the server started, and what those started."""
    return {child.pid for child in psutil.Process(client.live.pid).children(recursive=True)}


def pipeline_of_its_own(root: Path) -> Path:
    """`echo_pipeline`, with an echo that no other archive has: shared, it would have run before and run on."""
    echo_pipeline(root)
    (root / "echo" / "1" / "of_its_own.txt").write_text("pipeline_of_its_own")
    return root


def test_after_an_unload_all_parts_are_gone(multi):
    """Triton answers the UNLOAD of an ensemble while its parts still run, and the next LOAD meets occupied memory."""
    multi.settle()
    before, charged = processes(multi), multi.charged_bytes()
    model, url = multi.place(pipeline_of_its_own)
    assert multi.load(model, url).status_code == 200
    assert multi.invoke(model).status_code == 200
    assert processes(multi) - before
    assert multi.unload(model).status_code == 200
    assert processes(multi) - before == set()
    assert multi.charged_bytes() == charged


def test_equal_parts_of_two_archives_are_loaded_once(multi):
    assert multi.ask("pipeline.tar.gz").status_code == 200
    assert multi.ask("pipeline-b.tar.gz").status_code == 200
    assert outputs(multi.ask("pipeline.tar.gz")) != outputs(multi.ask("pipeline-b.tar.gz"))
    residency = multi.residency()
    [encoder] = [
        step for step in residency["steps"] if set(step["shared_by"]) >= {"pipeline.tar.gz", "pipeline-b.tar.gz"}
    ]
    assert encoder["state"] == "resident"
    both = [each for each in residency["residents"] if each["archive"] in ("pipeline.tar.gz", "pipeline-b.tar.gz")]
    assert [encoder["digest"] in {step["digest"] for step in each["steps"]} for each in both] == [True, True]


def test_a_shared_part_outlives_the_unload_of_one_owner(multi):
    first, first_url = multi.place(lambda root: linear_pipeline(root, encoder_seed=60, head_seed=61))
    second, second_url = multi.place(lambda root: linear_pipeline(root, encoder_seed=60, head_seed=62))
    assert multi.load(first, first_url).status_code == 200
    assert multi.load(second, second_url).status_code == 200
    answer = outputs(multi.invoke(second))
    assert multi.unload(first).status_code == 200
    assert outputs(multi.invoke(second)) == answer
    multi.let_go(second)


def test_many_clients_of_many_archives_get_their_own_answers(multi, pool):
    names = [
        "linear.tar.gz",
        "team/linear.tar.gz",
        "pipeline.tar.gz",
        "pipeline-b.tar.gz",
        "pipeline-c.tar.gz",
        "echo.tar.gz",
    ]
    alone = {name: outputs(multi.ask(name)) for name in names}
    asked = [(name, pool.submit(multi.ask, name)) for _ in range(10) for name in names]
    assert [name for name, answer in asked if outputs(answer.result()) != alone[name]] == []
    assert len({str(each) for each in alone.values()}) == len(names)


def test_metrics_tell_archives_with_equal_inner_names_apart(multi):
    for name in ("pipeline.tar.gz", "pipeline-c.tar.gz"):
        assert multi.ask(name).status_code == 200
    page = multi.get("/metrics").text
    for name in ("pipeline.tar.gz", "pipeline-c.tar.gz"):
        assert [line for line in page.splitlines() if line.startswith("ModelCacheHit") and f'"{name}"' in line]

"""A front-end worker before the HTTP side: nobody can tell from the answers, and on a lease it asks nobody.

Worker, home, and the sockets between them are real. (Run by hand, the whole HTTP contract holds through a worker.)
"""

import json

import numpy as np
import pytest
import requests

from server.domain.errors import EngineLost
from tests.contract.http_fakes import Wiring, step_of
from tests.contract.http_worker import worker_server
from tests.contract.test_http_container import TARGET, body
from tests.contract.test_http_limits import raw_request, status_of, wait_until

ECHO, SLOW = "echo.tar.gz", "slow.tar.gz"
DIFFER = {"date", "x-request-id", "x-amzn-requestid", "x-roundhouse-load-ms", "server-timing"}
"""Headers that differ between any two answers."""


@pytest.fixture
def front(tmp_path):
    """A worker in front of a home; `front(...)` takes settings of the wiring."""
    from contextlib import ExitStack

    with ExitStack() as servers:

        def started(**settings):
            (tmp_path / "models").mkdir()
            wiring = Wiring(tmp_path / "models", **settings)
            return servers.enter_context(worker_server(wiring, tmp_path))

        yield started


def post(server, name=ECHO, data=None, path="/invocations", **headers):
    sent = {TARGET: name, "Content-Type": "application/json", **headers}
    return requests.post(f"{server.url}{path}", data or body(), headers=sent, timeout=20)


def get_a_lease(server, behind, name=ECHO):
    assert post(server, name).status_code == 200
    wait_until(server, lambda: any(held.name == name for held in behind.held._by_address.values()))


def cut_off(behind):
    """From now on nothing can be passed on, so what is answered is answered by the worker."""
    behind.relay.close()
    behind.relay._path = "/nonexistent"


def seen(answer):
    return (
        answer.status_code,
        {k.lower(): v for k, v in answer.headers.items() if k.lower() not in DIFFER},
        answer.content,
    )


def test_on_a_lease_the_home_process_is_not_asked(front):
    server, behind = front()
    get_a_lease(server, behind)
    passed_on = post(server, **{"X-Roundhouse": "any"})
    server.running.on_loop(lambda: cut_off(behind))
    assert requests.get(f"{server.url}/ping", timeout=10).status_code == 503  # it is cut off
    here = post(server)
    assert here.status_code == 200
    assert here.headers["x-roundhouse-warmth"] == "resident"
    assert json.loads(here.content)["model_name"] == ECHO
    assert seen(here) == seen(passed_on)


@pytest.mark.parametrize("size", [1, 200_000], ids=["small", "large"])
def test_what_is_wrong_is_answered_as_at_home(front, size):
    server, behind = front(max_body_bytes=1 << 22)
    broken = "{" + " " * size
    before = seen(post(server, data=broken))
    get_a_lease(server, behind)
    assert seen(post(server, data=broken)) == before
    assert before[0] == 400


def test_large_bodies_and_chunked_ones_come_through(front):
    server, behind = front(max_body_bytes=1 << 22)
    numbers = np.arange(30_000, dtype=np.float32).tolist()
    entry = {"name": "INPUT0", "shape": [len(numbers)], "datatype": "FP32", "data": numbers}
    large = json.dumps({"inputs": [entry]}).encode()

    def ask():
        whole = post(server, data=large)
        chunked = post(server, data=iter([large[:70_000], large[70_000:]]))
        return [json.loads(each.content)["outputs"][0]["data"] == numbers for each in (whole, chunked)]

    assert ask() == [True, True]
    get_a_lease(server, behind)
    assert ask() == [True, True]


def test_too_large_bodies_are_refused_before_they_are_sent(front):
    server, behind = front(max_body_bytes=1000)
    get_a_lease(server, behind)
    lines = ["POST /invocations HTTP/1.1", "Host: x", f"{TARGET}: {ECHO}"]
    for more in (["Content-Length: 5000000000"], ["Content-Length: 2000", "Expect: 100-continue"]):
        with raw_request(server, *lines, *more) as connection:
            assert status_of(connection) == 413


def test_streams_heads_and_other_routes_are_passed_on(front):
    server, behind = front()
    get_a_lease(server, behind)
    assert requests.head(f"{server.url}/metrics", timeout=10).status_code in {200, 405}
    assert requests.get(f"{server.url}/v2/models/{ECHO}", timeout=10).json()["name"] == ECHO
    assert requests.get(f"{server.url}/invocations", timeout=10).status_code == 405
    streamed = post(server, path="/endpoints/any/invocations-response-stream")
    assert streamed.status_code == 200
    assert streamed.headers["transfer-encoding"] == "chunked"
    assert requests.get(f"{server.url}/nowhere", timeout=10).status_code == 404


def test_an_unloaded_archive_is_called_back_and_loaded_again(front):
    server, behind = front()
    get_a_lease(server, behind)
    server.running.submit(server.wiring.residency.unload(ECHO)).result(10)
    assert behind.desk.lent == 0
    assert post(server).headers["x-roundhouse-warmth"] != "resident"


def test_running_requests_hold_an_eviction_up_and_new_ones_do_not(front):
    server, behind = front()
    server.running.on_loop(server.wiring.engine.slow_open.set)
    get_a_lease(server, behind, SLOW)
    server.running.on_loop(server.wiring.engine.slow_open.clear)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(post, server, SLOW)
        wait_until(server, lambda: server.wiring.engine.slow_running)
        unloading = server.running.submit(server.wiring.residency.unload(SLOW))
        wait_until(server, lambda: [each.state for each in behind.counter.lent] == ["stopped"])
        assert not unloading.done()
        server.running.on_loop(server.wiring.engine.slow_open.set)
        assert running.result(10).status_code == 200
        unloading.result(10)


def test_a_client_that_leaves_takes_its_request_with_it(front):
    server, behind = front()
    data = body()
    lines = ["POST /invocations HTTP/1.1", "Host: x", f"Content-Length: {len(data)}", f"{TARGET}: {SLOW}"]
    for turn in (1, 2):  # passed on, and on a lease
        with raw_request(server, *lines, data=data.encode()):
            wait_until(server, lambda: server.wiring.engine.slow_running)
        wait_until(server, lambda turn=turn: server.wiring.engine.slow_cancelled == turn)
        server.running.on_loop(server.wiring.engine.slow_open.set)
        get_a_lease(server, behind, SLOW)
        server.running.on_loop(server.wiring.engine.slow_open.clear)


@pytest.mark.parametrize("size", [1, 30_000], ids=["short way", "by ASGI"])
def test_where_the_engine_was_lost_the_home_process_tries_once_more(front, size):
    server, behind = front(max_body_bytes=1 << 22)
    get_a_lease(server, behind)
    errors = server.wiring.engine.errors

    def lost_once():
        del errors[step_of(ECHO)]
        return EngineLost("it died")

    errors[step_of(ECHO)] = lost_once
    answer = post(server, data=body() + " " * 3 * size)
    assert answer.status_code == 200
    assert step_of(ECHO) not in errors


def test_every_request_is_counted_once(front):
    server, behind = front()
    get_a_lease(server, behind)
    for _ in range(10):
        assert post(server).status_code == 200
    assert post(server, data="{").status_code == 400

    def counted():
        sums = server.wiring.metrics.sums.of(ECHO)
        return sums.cache_hit.count, sums.errors

    wait_until(server, lambda: counted() == (11, 1))
    assert behind.desk.describe() == [{"pid": 1, "leases": 1, "in_flight": 0}]


def test_a_load_under_a_name_calls_back_what_the_name_meant(front):
    server, behind = front()
    path = f"/models/{ECHO}/invoke"
    assert post(server, path=path).status_code == 200
    wait_until(server, lambda: behind.desk.lent)
    folder = server.wiring.load_root / "own"
    (folder / "model").mkdir(parents=True)
    server.running.on_loop(lambda: server.wiring.registered.add(ECHO, folder, "mine"))
    wait_until(server, lambda: behind.desk.lent == 0)
    assert json.loads(post(server, name="", path=path).content)["model_name"] == "mine"

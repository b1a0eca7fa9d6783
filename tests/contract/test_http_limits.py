"""Limits of size, number and time; clients that go away; the end of the server."""

import gzip
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.contract.test_http_container import TARGET, body


def post(server, name="echo.tar.gz", data=None, **headers):
    headers = {TARGET: name, **headers}
    return requests.post(f"{server.url}/invocations", data=data or body(), headers=headers, timeout=30)


def wait_until(server, is_so):
    """Give the server turns until something is so; each turn is a round trip."""
    for _ in range(2000):
        if is_so():
            return
        requests.get(f"{server.url}/ping", timeout=5)
    pytest.fail("it never happened")


def raw_request(server, *lines, data=b""):
    connection = socket.create_connection(("127.0.0.1", server.running.port), timeout=10)
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + data)
    return connection


def status_of(connection):
    received = b""
    while b"\r\n" not in received:
        received += connection.recv(4096)
    return int(received.split(b" ")[1])


def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(start):
    server = start(max_body_bytes=1000)
    lines = ["POST /invocations HTTP/1.1", "Host: x", "Content-Length: 5000000000", f"{TARGET}: echo.tar.gz"]
    with raw_request(server, *lines) as connection:
        assert status_of(connection) == 413


def test_a_client_that_waits_for_the_permission_to_send_gets_none(start):
    server = start(max_body_bytes=1000)
    lines = ["POST /invocations HTTP/1.1", "Host: x", "Content-Length: 2000", "Expect: 100-continue"]
    with raw_request(server, *lines) as connection:
        assert status_of(connection) == 413


def test_a_client_that_waits_for_the_permission_to_send_gets_it(server):
    data = body().encode()
    lines = [
        "POST /models/echo.tar.gz/invoke HTTP/1.1",
        "Host: x",
        f"Content-Length: {len(data)}",
        "Expect: 100-continue",
    ]
    with raw_request(server, *lines) as connection:
        assert status_of(connection) == 100
        connection.sendall(data)
        assert status_of(connection) == 200


def test_a_sent_body_over_the_limit_is_413_and_the_connection_lives(start):
    server = start(max_body_bytes=1000)
    with requests.Session() as session:
        headers = {TARGET: "echo.tar.gz"}
        answer = session.post(f"{server.url}/invocations", data=b"x" * 2_000_000, headers=headers, timeout=30)
        assert answer.status_code == 413
        assert session.post(f"{server.url}/invocations", data=body(), headers=headers, timeout=30).status_code == 200


@pytest.mark.parametrize(("pieces", "status"), [(2, 200), (2000, 413)])
def test_chunked_bodies_are_counted(start, pieces, status):
    server = start(max_body_bytes=1000)
    data = [body().encode()] if status == 200 else [b"x" * 100] * pieces
    assert post(server, data=iter(data)).status_code == status


def test_a_body_that_inflates_over_the_limit_is_413(start):
    server = start(max_body_bytes=10_000)
    bomb = gzip.compress(b"0" * 10_000_000)[:10_000]
    assert post(server, data=bomb, **{"Content-Encoding": "gzip"}).status_code == 413


@pytest.mark.parametrize(("size", "status"), [(30_000, 200), (2_000_000, 431)])
def test_heads_of_requests_have_a_limit(server, size, status):
    with raw_request(server, "GET /ping HTTP/1.1", "Host: x", f"A: {'y' * size}") as connection:
        assert status_of(connection) == status


def test_a_long_body_is_no_long_head(server):
    with requests.Session() as session:
        for _ in range(3):
            answer = session.post(f"{server.url}/models/echo.tar.gz/invoke", data=body([1.0] * 50_000), timeout=30)
            assert answer.status_code == 200


def test_load_requests_have_a_limit_of_their_own(server):
    answer = requests.post(f"{server.url}/models", data=b" " * 2_000_000, timeout=30)
    assert answer.status_code == 413


def test_gzip_in_and_out(server):
    numbers = [float(number) for number in range(2000)]
    answer = post(server, data=gzip.compress(body(numbers).encode()), **{"Content-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.json()["outputs"][0]["data"] == numbers


def test_answers_are_not_compressed_for_those_who_do_not_ask(server):
    numbers = [float(number) for number in range(2000)]
    answer = post(server, data=body(numbers), **{"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in answer.headers


def test_an_answer_in_many_pieces_arrives_whole(server):
    values = [float(number) for number in range(50_000)]
    entry = {"name": "INPUT0", "shape": [len(values)], "datatype": "FP32", "data": values}
    wanted = [{"name": "INPUT0", "parameters": {"binary_data": True}}]
    answer = post(server, data=json.dumps({"inputs": [entry], "outputs": wanted}), **{"Accept-Encoding": "identity"})
    assert int(answer.headers["Content-Length"]) == len(answer.content) > 200_000


def test_one_request_too_many_is_503_with_retry_after(start):
    server = start(max_in_flight=1)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(post, server, "slow.tar.gz")
        wait_until(server, lambda: server.wiring.engine.slow_running)
        refused = post(server)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        server.running.on_loop(server.wiring.engine.slow_open.set)
        assert running.result().status_code == 200
    assert post(server).status_code == 200


def test_a_request_out_of_time_is_504_and_gives_its_lease_back(start):
    server = start(timeout_s=0.2)
    assert post(server, "slow.tar.gz").status_code == 504
    assert server.wiring.engine.slow_cancelled == 1
    assert leases(server) == {"slow.tar.gz": 0}


def test_waiting_for_a_load_too_long_is_503_with_retry_after(start):
    server = start(load_wait_s=0.05)
    server.running.on_loop(server.wiring.engine.loads_open.clear)
    answer = post(server)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1


def leases(server):
    residents = requests.get(f"{server.url}/admin/residency", timeout=5).json()["residents"]
    return {resident["archive"]: resident["leases"] for resident in residents}


def test_a_client_that_goes_away_while_it_runs_is_forgotten(start):
    server = start()
    data = body().encode()
    lines = ["POST /models/slow.tar.gz/invoke HTTP/1.1", "Host: x", f"Content-Length: {len(data)}"]
    connection = raw_request(server, *lines, data=data)
    wait_until(server, lambda: server.wiring.engine.slow_running)
    assert leases(server) == {"slow.tar.gz": 1}
    connection.close()
    wait_until(server, lambda: server.wiring.engine.slow_cancelled)
    assert leases(server) == {"slow.tar.gz": 0}
    assert server.wiring.admission.running == 0


def test_a_client_that_goes_away_while_it_waits_is_forgotten(start):
    server = start()
    server.running.on_loop(server.wiring.engine.loads_open.clear)
    data = body().encode()
    lines = ["POST /models/echo.tar.gz/invoke HTTP/1.1", "Host: x", f"Content-Length: {len(data)}"]
    connection = raw_request(server, *lines, data=data)
    wait_until(server, lambda: server.wiring.engine.loading)
    assert server.wiring.admission.running == 1
    connection.close()
    wait_until(server, lambda: server.wiring.admission.running == 0)
    server.running.on_loop(server.wiring.engine.loads_open.set)
    assert post(server).status_code == 200


def test_a_client_that_goes_away_while_it_sends_is_forgotten(start):
    server = start()
    lines = ["POST /models/echo.tar.gz/invoke HTTP/1.1", "Host: x", "Content-Length: 1000"]
    raw_request(server, *lines, data=b"{").close()
    assert post(server).status_code == 200
    assert server.wiring.admission.running == 0


def test_an_engine_that_dies_under_a_request_is_asked_once_more(start):
    server = start()
    running = server.running
    running.on_loop(lambda: setattr(server.wiring.engine, "_on_lost", server.wiring.residency.lost))
    answer = post(server, "dies-once.tar.gz")
    assert answer.status_code == 200
    assert server.wiring.engine.deaths == 1


def test_draining_refuses_new_requests_and_lets_running_ones_finish(start):
    server = start()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(post, server, "slow.tar.gz")
        wait_until(server, lambda: server.wiring.engine.slow_running)
        drained = server.running.submit(server.wiring.admission.drain(20))
        wait_until(server, lambda: server.wiring.admission.is_draining)
        assert requests.get(f"{server.url}/ping", timeout=5).status_code == 503
        refused = post(server)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        server.running.on_loop(server.wiring.engine.slow_open.set)
        assert running.result().status_code == 200
        assert drained.result(10)


def test_requests_of_one_connection_are_answered_in_their_order(server):
    data = body().encode()
    one = f"POST /models/echo.tar.gz/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
    with socket.create_connection(("127.0.0.1", server.running.port), timeout=10) as connection:
        connection.sendall(one * 3)
        received = b""
        while received.count(b"model_name") < 3:
            received += connection.recv(65536)
    assert received.count(b"HTTP/1.1 200 OK") == 3

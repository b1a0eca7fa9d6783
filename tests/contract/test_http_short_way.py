"""Small requests come to the hot path without ASGI, and some are answered at once: nobody can tell from the answers."""

import json
import socket

import pytest
import requests

from tests.contract.http_fakes import MANY
from tests.contract.test_http_container import TARGET, body
from tests.contract.test_http_limits import wait_until

QUICK, USUAL = "echo.tar.gz", "other.tar.gz"


class Connection:
    """A client that writes and reads bytes itself."""

    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.running.port), timeout=10)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, *requests_):
        self.socket.sendall(b"".join(requests_))

    def answer(self):
        """Status, headers and body of the next answer."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name] = value
        return status, headers, self.file.read(int(headers["content-length"]))

    def is_closed(self):
        return self.file.read(1) == b""


def request(name=QUICK, data=None, version="1.1", target="/invocations", **headers):
    data = (data or body()).encode()
    lines = [f"POST {target} HTTP/{version}", "Host: x", f"{TARGET}: {name}", f"Content-Length: {len(data)}"]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def numbers(data):
    return json.loads(data)["outputs"][0]["data"]


@pytest.fixture
def connection(server):
    with Connection(server) as opened:
        yield opened


@pytest.mark.parametrize("name", [QUICK, USUAL])
def test_answers_on_one_connection_are_alike(connection, name):
    seen = []
    for number in range(4):
        connection.send(request(name, body([float(number)])))
        status, headers, data = connection.answer()
        assert (status, numbers(data)) == (200, [number])
        assert headers.pop("x-request-id")
        seen.append(headers)
    warm = seen[1:]
    assert all(set(headers) == set(seen[0]) - {"server-timing"} for headers in warm)
    assert {headers["x-roundhouse-warmth"] for headers in warm} == {"resident"}
    assert {headers["content-type"] for headers in warm} == {"application/json"}
    assert {headers["x-roundhouse-load-ms"] for headers in warm} == {"0.000"}


def test_quick_archives_are_answered_at_once(start):
    server = start()
    with Connection(server) as connection:
        for _ in range(5):
            connection.send(request())
            connection.answer()
    assert server.wiring.engine.runs_now == 4
    assert server.wiring.metrics.statistics(QUICK)["count"] == 5
    assert server.wiring.residency.snapshot()["residents"][0]["leases"] == 0


def test_requests_larger_than_any_quick_one_take_the_usual_road(start):
    server = start()
    with Connection(server) as connection:
        for count in (2, 2, MANY, 2):
            connection.send(request(data=body([1.0] * count)))
            assert connection.answer()[0] == 200
    assert server.wiring.engine.runs_now == 2


def test_what_is_busy_takes_the_usual_road(start):
    server = start()
    with Connection(server) as connection:
        for is_busy in (False, True, False):
            server.wiring.engine.is_busy = is_busy
            connection.send(request())
            assert connection.answer()[0] == 200
    assert server.wiring.engine.runs_now == 1
    assert server.wiring.metrics.statistics(QUICK)["count"] == 3


def test_an_error_at_once_is_told_as_on_the_usual_road(start):
    server = start()
    with Connection(server) as connection:
        connection.send(request())
        connection.answer()
        server.wiring.engine.errors.update(dict.fromkeys(server.wiring.engine.loaded, lambda: ZeroDivisionError("x")))
        told = []
        for _ in range(2):
            connection.send(request())
            status, headers, data = connection.answer()
            headers.pop("x-request-id")
            told.append((status, headers["content-type"], data))
            server.wiring.engine.is_busy = True
        assert told[0] == told[1]
        assert told[0][0] == 500
        assert server.wiring.metrics.statistics(QUICK)["errors"] == 2
        server.wiring.engine.errors.clear()
        connection.send(request())
        assert connection.answer()[0] == 200


def test_a_body_that_does_not_decode_is_told_as_before(connection):
    connection.send(request(), request(data='{"inputs": 3}'), request())
    assert [connection.answer()[0] for _ in range(3)] == [200, 400, 200]


def test_what_was_unloaded_is_loaded_again(start):
    server = start()
    with Connection(server) as connection:
        for _ in range(2):
            connection.send(request())
            connection.answer()
        server.running.submit(server.wiring.residency.unload(QUICK)).result(10)
        connection.send(request())
        status, headers, _ = connection.answer()
    assert (status, headers["x-roundhouse-warmth"] != "resident") == (200, True)


def test_pipelined_requests_are_answered_in_order(start):
    server = start()
    with Connection(server) as connection:
        connection.send(request())
        connection.answer()
        names = [QUICK, "slow.tar.gz", QUICK, USUAL, QUICK, "slow.tar.gz", USUAL]
        connection.send(*(request(name, body([float(number)])) for number, name in enumerate(names)))
        wait_until(server, lambda: server.wiring.engine.slow_running == 1)
        server.running.on_loop(server.wiring.engine.slow_open.set)
        answers = [connection.answer() for _ in names]
    assert [numbers(data) for _, _, data in answers] == [[number] for number in range(len(names))]


def test_a_request_in_pieces_is_one_request(connection):
    whole = request(data=body([float(number) for number in range(100)]))
    for start in range(0, len(whole), 97):
        connection.send(whole[start : start + 97])
    assert len(numbers(connection.answer()[2])) == 100


@pytest.mark.parametrize("name", [QUICK, USUAL])
def test_who_asks_for_the_end_of_the_connection_gets_it(server, name):
    with Connection(server) as connection:
        connection.send(request(name))
        connection.answer()
        connection.send(request(name, Connection="close"))
        status, headers, _ = connection.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert connection.is_closed()


@pytest.mark.parametrize(
    "asked",
    [
        request(version="1.0"),
        request(target="/invocations?a=b"),
        request(target="/models/echo%2Etar.gz/invoke"),
        request(target="http://x/invocations"),
        request(data=body([0.5] * 30_000)),
    ],
    ids=["HTTP/1.0", "query", "escapes", "absolute", "large"],
)
def test_other_requests_take_the_other_way(connection, asked):
    connection.send(asked)
    assert connection.answer()[0] == 200


def test_answers_are_compressed_where_that_is_asked_for(server):
    for _ in range(2):
        answer = requests.post(
            f"{server.url}/invocations",
            data=body([0.25] * (MANY - 1)),
            headers={TARGET: QUICK, "Accept-Encoding": "gzip"},
            timeout=10,
        )
        assert (answer.status_code, answer.headers["Content-Encoding"]) == (200, "gzip")
        assert len(numbers(answer.content)) == MANY - 1


def test_a_caller_s_id_comes_back(connection):
    for number in range(3):
        connection.send(request(X_Request_Id=f"mine-{number}"))
        assert connection.answer()[1]["x-request-id"] == f"mine-{number}"


def test_a_client_that_leaves_stops_its_work(start):
    server = start()
    with Connection(server) as connection:
        connection.send(request("slow.tar.gz"))
        wait_until(server, lambda: server.wiring.engine.slow_running == 1)
    wait_until(server, lambda: server.wiring.engine.slow_cancelled == 1)
    assert server.wiring.admission.running == 0


def test_nothing_is_answered_at_once_while_the_server_goes_down(start):
    server = start()
    with Connection(server) as connection:
        for _ in range(2):
            connection.send(request())
            connection.answer()
        server.running.submit(server.wiring.admission.drain(5)).result(10)
        connection.send(request())
        assert connection.answer()[0] == 503

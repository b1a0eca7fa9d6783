"""Bodies over the limits, and clients that go away in the middle: the server lives, and no lease is left behind."""

import gzip
import json
import socket
from pathlib import Path

import pytest

from tests.blackbox.client import ONES, TARGET, kserve, outputs, tensor, text
from tests.integration.until import until

ECHO = "echo.tar.gz"
OVER = 70_000
LIMIT = 65_536


def small_pieces(size):
    """A body of unknown length."""
    yield b'{"inputs": ['
    for _ in range(0, size, 1000):
        yield b" " * 1000


@pytest.mark.parametrize(
    "sent",
    [
        {"data": b" " * OVER},
        {"data": b" " * OVER, "headers": {"Expect": "100-continue"}},
        {"data": gzip.compress(b" " * OVER), "headers": {"Content-Encoding": "gzip"}},
        {"data": gzip.compress(b" " * 200_000_000, 1), "headers": {"Content-Encoding": "gzip"}},
    ],
    ids=["by its length", "before it is sent", "after inflating", "a bomb"],
)
@pytest.mark.parametrize("route", ["/invocations", f"/models/{ECHO}/invoke", f"/v2/models/{ECHO}/infer"])
def test_a_body_over_the_limit_is_413(tight, route, sent):
    answer = tight.call("POST", route, {TARGET: ECHO, **sent.get("headers", {})}, data=sent["data"])
    assert answer.status_code == 413
    assert str(LIMIT) in answer.json()["error"]


def test_chunks_over_the_limit_are_413(tight):
    assert tight.ask(ECHO, data=small_pieces(OVER)).status_code == 413


def test_a_body_at_the_limit_is_read(tight):
    body = json.dumps(ONES).encode()
    assert tight.ask(ECHO, data=body + b" " * (LIMIT - len(body))).status_code == 200
    assert tight.ask(ECHO, data=body + b" " * (LIMIT - len(body) + 1)).status_code == 413


def connect(client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", client.live.port), timeout=30)


def head(target: str, length: int) -> bytes:
    return (
        f"POST /invocations HTTP/1.1\r\nHost: x\r\n{TARGET}: {target}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def in_flight(client) -> int:
    """Requests inside, as the metrics say."""
    page = client.get("/metrics").text
    [line] = [line for line in page.splitlines() if line.startswith("roundhouse_requests_in_flight ")]
    return int(float(line.split()[1]))


def is_quiet(client) -> bool:
    """Whether nobody is inside any more."""
    return client.leases() == 0 and in_flight(client) == 0


def test_a_client_that_leaves_while_it_sends(multi):
    for _ in range(3):
        with connect(multi) as leaving:
            leaving.sendall(head("linear.tar.gz", 1000) + b'{"inputs"')
    until(lambda: is_quiet(multi), what="quiet")
    assert multi.ask("linear.tar.gz").status_code == 200


def test_a_client_that_leaves_while_it_waits(multi):
    assert multi.ask("moody.tar.gz", text("hello")).status_code == 200
    gate = multi.path("gate")
    body = json.dumps(text(f"wait {gate}")).encode()
    try:
        with connect(multi) as leaving:
            leaving.sendall(head("moody.tar.gz", len(body)) + body)
            until(Path(f"{gate}.waiting").exists, what="the request")
            assert multi.leases() == 1
    finally:
        gate.touch()
    until(lambda: is_quiet(multi), what="quiet")
    assert outputs(multi.ask("moody.tar.gz", text("hello"))) == {"OUTPUT0": ["hello"]}


def test_a_client_that_leaves_while_it_reads(multi):
    """The answer is larger than what sockets hold, so the server is in the middle of it."""
    values = [0.5] * 2_000_000
    body = json.dumps(kserve(tensor(values, [len(values)]))).encode()
    with connect(multi) as leaving:
        leaving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        leaving.sendall(head("vector.tar.gz", len(body)) + body)
        assert leaving.recv(12) == b"HTTP/1.1 200"
    until(lambda: is_quiet(multi), what="quiet")
    assert multi.ask("vector.tar.gz", kserve(tensor([1.0], [1]))).status_code == 200


@pytest.mark.parametrize(
    "nonsense", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"\0" * 4096]
)
def test_what_is_no_http_is_refused(multi, nonsense):
    with connect(multi) as strange:
        strange.sendall(nonsense)
        strange.shutdown(socket.SHUT_WR)
        answer = strange.recv(4096)
    assert not answer or b" 400 " in answer.splitlines()[0] + b" " or b" 404 " in answer.splitlines()[0]
    assert multi.get("/ping").status_code == 200


def test_headers_without_end_are_refused(multi):
    with connect(multi) as strange:
        strange.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n")
        status = b""
        try:
            for number in range(4000):
                strange.sendall(b"x-%d: %s\r\n" % (number, b"y" * 500))
            status = strange.recv(12)
        except (ConnectionError, TimeoutError):
            pass
    assert status in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")
    assert multi.get("/ping").status_code == 200

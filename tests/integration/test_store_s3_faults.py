"""S3 that is down, silent, refusing or in trouble: one error that says where and why, and nothing left half-written."""

import socket
import threading
from contextlib import contextmanager

import pytest

from server.domain.errors import StoreUnavailable
from server.store.s3.options import S3Options
from server.store.s3.prefix import S3Prefix
from server.store.threads import StoreThreads


@contextmanager
def answering(answer, *later):
    """A port that accepts connections and gives each request the same bytes; `None` means silence.

    With `later` each request gets its own, and the last one all that follow.
    """
    answers = [answer, *later]
    listener = socket.create_server(("127.0.0.1", 0))
    connections = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            if answer is not None:
                connection.recv(65536)
                connection.sendall(answers[0] if len(answers) == 1 else answers.pop(0))
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in connections:
            connection.close()


def _http(status, body, *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", body]).encode()


@pytest.fixture
def credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@contextmanager
def _closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


_ERROR = "<Error><Code>{}</Code><Message>no</Message></Error>"

FAULTS = {
    "down": (_closed_port, "cannot be reached"),
    "silent": (lambda: answering(None), "cannot be reached: ReadTimeoutError"),
    "refusing": (lambda: answering(_http("403 Forbidden", _ERROR.format("AccessDenied"))), "may not be read"),
    "in trouble": (lambda: answering(_http("503 Slow Down", _ERROR.format("SlowDown"))), "S3 answered 503"),
    "talking nonsense": (lambda: answering(b"garbage\r\n\r\n"), "cannot be"),
}


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.usefixtures("credentials")
async def test_every_trouble_is_an_unavailable_store_that_says_where_and_why(kind, tmp_path):
    fault, message = FAULTS[kind]
    threads = StoreThreads(checks=1, transfers=1)
    with fault() as endpoint_url:
        options = S3Options("models", "eu", endpoint_url, read_timeout_s=0.05, connect_timeout_s=0.5, attempts=1)
        origin = S3Prefix(options, threads)
        with pytest.raises(StoreUnavailable, match=message) as caught:
            await origin.version("x.tar.gz")
        with pytest.raises(StoreUnavailable):
            await origin.names()
        with pytest.raises(StoreUnavailable):
            await origin.fetch("x.tar.gz", "etag", tmp_path)
        await origin.close()
    await threads.close()
    assert "s3://models/eu/x.tar.gz" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Le", b'HTTP/1.1 200 OK\r\nETag: "abc"\r\n'])
@pytest.mark.usefixtures("credentials")
async def test_an_answer_that_breaks_off_in_its_head_is_an_unavailable_store(head, tmp_path):
    threads = StoreThreads(checks=1, transfers=1)
    with answering(head) as endpoint_url:
        origin = S3Prefix(S3Options("models", "eu", endpoint_url, read_timeout_s=0.5, attempts=1), threads)
        with pytest.raises(StoreUnavailable, match="broke off"):
            await origin.version("x.tar.gz")
        await origin.close()
    await threads.close()


@pytest.mark.usefixtures("credentials")
async def test_a_listing_that_breaks_off_is_an_unavailable_store():
    threads = StoreThreads(checks=1, transfers=1)
    with answering(_http("200 OK", "<ListBucketResult><Contents><Key>eu/x.tar.gz</Key>")) as endpoint_url:
        origin = S3Prefix(S3Options("models", "eu", endpoint_url, read_timeout_s=0.5, attempts=1), threads)
        with pytest.raises(StoreUnavailable, match="s3://models/eu/ cannot be read"):
            await origin.names()
        await origin.close()
    await threads.close()


@pytest.mark.usefixtures("credentials")
async def test_a_download_that_breaks_off_is_an_unavailable_store(tmp_path):
    head = b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 5000\r\nConnection: close\r\n\r\n'
    threads = StoreThreads(checks=1, transfers=1)
    with answering(head + b"only the beginning") as endpoint_url:
        options = S3Options("models", "eu", endpoint_url, read_timeout_s=0.5, attempts=1)
        origin = S3Prefix(options, threads)
        assert await origin.version("x.tar.gz") == "abc"
        with pytest.raises(StoreUnavailable):
            await origin.fetch("x.tar.gz", "abc", tmp_path)
        await origin.close()
    await threads.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("credentials")
async def test_a_small_download_that_breaks_off_is_tried_again(tmp_path):
    head = b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 11\r\nConnection: close\r\n\r\n'
    threads = StoreThreads(checks=1, transfers=1)
    with answering(head, head + b"a few", head + b"a few bytes") as endpoint_url:
        origin = S3Prefix(S3Options("models", "eu", endpoint_url, read_timeout_s=0.5, attempts=2), threads)
        path = await origin.fetch("x.tar.gz", await origin.version("x.tar.gz"), tmp_path)
        assert path.read_bytes() == b"a few bytes"
        await origin.close()
    await threads.close()


@pytest.mark.usefixtures("credentials")
async def test_a_closed_origin_starts_no_download(tmp_path):
    threads = StoreThreads(checks=1, transfers=1)
    head = b'HTTP/1.1 200 OK\r\nETag: "abc"\r\nContent-Length: 5\r\nConnection: close\r\n\r\n'
    with answering(head) as endpoint_url:
        origin = S3Prefix(S3Options("models", "eu", endpoint_url, attempts=1), threads)
        version = await origin.version("x.tar.gz")
        await origin.close()
        with pytest.raises(StoreUnavailable, match="stopping"):
            await origin.fetch("x.tar.gz", version, tmp_path)
    await threads.close()
    assert list(tmp_path.iterdir()) == []

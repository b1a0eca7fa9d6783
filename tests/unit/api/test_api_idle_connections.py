"""Idle connections are closed in time, with one timer each; time jumps."""

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from server.api.hot_protocol import HotProtocol

pytestmark = pytest.mark.looptime
KEPT_S = 75
REQUEST = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"


class Wire:
    """A transport that remembers."""

    def __init__(self):
        self.written = b""
        self.closed_at = None

    def write(self, data):
        self.written += data

    def close(self):
        self.closed_at = self.closed_at or asyncio.get_running_loop().time()

    def is_closing(self):
        return self.closed_at is not None

    def get_extra_info(self, name, default=None):
        return default

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


class App:
    """Answers after `takes_s`."""

    def __init__(self):
        self.takes_s = 0.0

    async def __call__(self, scope, receive, send):
        await asyncio.sleep(self.takes_s)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


class Opened:
    """A connection to `app`."""

    def __init__(self):
        self.app = App()
        config = uvicorn.Config(
            self.app, http=HotProtocol, ws="none", log_config=None, proxy_headers=False, timeout_keep_alive=KEPT_S
        )
        config.load()
        self.loop = asyncio.get_running_loop()
        self.protocol = HotProtocol(config, ServerState(), {}, self.loop)
        self.wire = Wire()
        self.protocol.connection_made(self.wire)

    async def ask(self):
        before = self.wire.written.count(b"HTTP/1.1 200")
        self.protocol.data_received(REQUEST)
        while self.wire.written.count(b"HTTP/1.1 200") == before:
            await asyncio.sleep(1)


async def test_a_connection_is_closed_so_long_after_its_last_answer():
    opened = Opened()
    for _ in range(5):
        await opened.ask()
        await asyncio.sleep(50)
        assert opened.wire.closed_at is None
    last = opened.loop.time() - 50
    await asyncio.sleep(200)
    assert opened.wire.closed_at == pytest.approx(last + KEPT_S, abs=2)


async def test_nothing_is_closed_while_a_request_is_answered():
    opened = Opened()
    await opened.ask()
    opened.app.takes_s = 1000
    opened.protocol.data_received(REQUEST)
    await asyncio.sleep(900)
    assert opened.wire.closed_at is None
    await asyncio.sleep(100 + KEPT_S - 3)
    assert opened.wire.closed_at is None
    await asyncio.sleep(6)
    assert opened.wire.closed_at is not None


async def test_a_request_that_comes_slowly_is_waited_for():
    opened = Opened()
    await opened.ask()
    opened.protocol.data_received(REQUEST[:10])
    await asyncio.sleep(3 * KEPT_S)
    assert opened.wire.closed_at is None


async def test_who_leaves_leaves_no_timer():
    opened = Opened()
    await opened.ask()
    opened.protocol.connection_lost(None)
    assert opened.protocol.timeout_keep_alive_task is None

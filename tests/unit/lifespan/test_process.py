"""How the process lives: the port first, then readiness; a signal drains; a failed start is an exit code."""

import asyncio
import logging
import os
import signal

import pytest

from server.lifespan.process import CutOff, Life, Listener, listen, live


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Story:
    """Parts that write down what happens to them."""

    def __init__(self, failure=None):
        self.told = []
        self.failure = failure

    async def begin(self):
        self.told.append("begin")
        if self.failure:
            raise self.failure

    async def drain(self, timeout_s):
        self.told.append(f"drain {timeout_s:g}")

    async def end(self):
        self.told.append("end")

    @property
    def life(self):
        return Life(self.begin, self.drain, self.end)


async def ask(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_leaves_with_zero(number):
    story, ready = Story(), asyncio.Event()

    async def on_ready():
        story.told.append("ready")
        ready.set()

    opened = listen("127.0.0.1", 0)
    living = asyncio.create_task(live([Listener(app, opened)], story.life, 7, on_ready))
    await asyncio.wait_for(ready.wait(), 10)
    assert (await ask(opened.getsockname()[1])).endswith(b"ok")
    os.kill(os.getpid(), number)
    assert await asyncio.wait_for(living, 20) == 0
    assert story.told == ["begin", "ready", "drain 7", "end"]


async def test_a_start_that_fails_is_an_exit_code_and_everything_is_freed():
    story = Story(failure=RuntimeError("no engine"))

    async def on_ready():
        story.told.append("ready")

    assert await asyncio.wait_for(live([Listener(app, listen("127.0.0.1", 0))], story.life, 1, on_ready), 20) == 1
    assert story.told == ["begin", "drain 1", "end"]


def test_a_request_that_is_cut_off_is_told_in_a_line():
    def record(error):
        return logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "Exception", (), (type(error), error, None))

    cut_off, other = record(asyncio.CancelledError("Task cancelled")), record(ValueError("a bug"))
    assert CutOff().filter(cut_off)
    assert CutOff().filter(other)
    assert (cut_off.exc_info, cut_off.levelname) == (None, "WARNING")
    assert "cut off" in cut_off.getMessage()
    assert other.exc_info[0] is ValueError


def test_a_port_in_use_is_named():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)

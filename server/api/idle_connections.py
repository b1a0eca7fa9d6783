"""uvicorn's HTTP protocol with one timer for each connection that is kept alive, instead of one for each request.

A timer that is set and cancelled for every request costs more than looking, when it rings, whether it rang too early.
"""

from asyncio import TimerHandle

from server.api.http_protocol import BoundedHeads


class IdleConnections(BoundedHeads):
    """Closes connections on which nothing was asked for `timeout_keep_alive` seconds."""

    timeout_keep_alive_task: TimerHandle | None
    _idle_since: float | None = None
    """`None` while a request is being read or answered."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to close any more."""
        super().connection_lost(exc)
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = None

    def _unset_keepalive_if_required(self) -> None:
        """Called by uvicorn for everything that arrives: the connection is not idle, and the timer will find out."""
        self._idle_since = None

    def on_response_complete(self) -> None:
        """Go on with what waits on this connection, or be idle from now on."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._ring_in(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """The timer rang."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None or self.transport.is_closing():
            return  # the answer that is under way sets it again
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._ring_in(left_s)
        else:
            self.transport.close()

    def _ring_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

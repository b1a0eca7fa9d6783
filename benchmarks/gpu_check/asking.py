"""Speaks HTTP with a server under check: what it has, what it answers, and how long the first answer takes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from time import perf_counter, sleep
from typing import Any
from urllib.parse import quote

_BUSY = (429, 503)
"""Still loading: TensorRT may compile for minutes."""
_RETRY_S = 2.0


class NoAnswer(Exception):
    """The server refused, failed, or took too long; the text is its own."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server. `patience_s`: how long it may take to come up, and one archive to load."""

    host: str
    port: int
    patience_s: float = 1200.0
    wait: Callable[[float], None] = sleep

    def await_ready(self) -> None:
        """Return when it answers /ping; Docker may still be starting it. Raises NoAnswer after `patience_s`."""
        begin = perf_counter()
        while True:
            try:
                self._ask("GET", "/ping", None)
            except NoAnswer:
                if perf_counter() - begin > self.patience_s:
                    raise
                self.wait(_RETRY_S)
            else:
                return

    def get(self, path: str) -> Any:
        """The JSON at `path`. Raises NoAnswer."""
        return json.loads(self._ask("GET", path, None))

    def config(self, archive: str) -> Any:
        """The entry model's config. Raises NoAnswer."""
        return self.get(f"/v2/models/{quote(archive)}/config")

    def infer(self, archive: str, body: str) -> tuple[Any, float]:
        """The answer, and the seconds until it came, loading included. Raises NoAnswer."""
        begin = perf_counter()
        answer = json.loads(self._ask("POST", f"/v2/models/{quote(archive)}/infer", body))
        return answer, perf_counter() - begin

    def _ask(self, method: str, path: str, body: str | None) -> bytes:
        begin = perf_counter()
        while True:
            status, answer, retry_s = self._once(method, path, body)
            if status == 200:
                return answer
            if status not in _BUSY or perf_counter() - begin > self.patience_s:
                raise NoAnswer(f"{method} {path}: {status} {answer.decode(errors='replace')[:500]}")
            self.wait(min(retry_s, 30.0))

    def _once(self, method: str, path: str, body: str | None) -> tuple[int, bytes, float]:
        connection = HTTPConnection(self.host, self.port, timeout=self.patience_s)
        try:
            connection.request(method, path, body, {"content-type": "application/json"} if body else {})
            response = connection.getresponse()
            return response.status, response.read(), float(response.headers.get("retry-after") or _RETRY_S)
        except (OSError, HTTPException) as error:
            raise NoAnswer(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            connection.close()

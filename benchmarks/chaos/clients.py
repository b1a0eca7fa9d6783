"""Clients that ask for archives at random on three surfaces, and hand every answer to the judge."""

import http.client
import json
import random
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.chaos.archives import WIDTH, Archive, version_of
from benchmarks.chaos.truth import Truth

TARGET: Final = "X-Amzn-SageMaker-Target-Model"
TIMEOUT_S: Final = 90
"""More than a server may take for a request: who waits longer was forgotten."""
_ABSENT: Final = re.compile("not found|is not loaded")
SURFACES: Final = ("kserve", "container", "runtime")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client(threading.Thread):
    """One client on one kept-alive connection, until `is_over` is set."""

    def __init__(
        self, port: int, archives: Sequence[Archive], truth: Truth, seed: str, is_over: threading.Event
    ) -> None:
        super().__init__(name=f"client {seed}", daemon=True)
        self._port = port
        self._archives = archives
        self._weights = [1 / (rank + 1) for rank in range(len(archives))]
        self._truth = truth
        self._dice = random.Random(seed)
        self._is_over = is_over
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)

    def run(self) -> None:
        """Ask on and on."""
        while not self._is_over.is_set():
            (archive,) = self._dice.choices(self._archives, self._weights)
            try:
                self.ask(archive, self._dice.choice(SURFACES))
            except Exception as error:  # a thread that dies silently would be a client that finds nothing
                self._truth.misshapen(f"{archive.name}: {type(error).__name__}: {error}")
                self._connection.close()
        self._connection.close()

    def ask(self, archive: Archive, surface: str) -> int:
        """One request, judged; returns its status."""
        inputs = self._drawn()
        not_before, began = self._truth.newest_seen(archive), perf_counter()
        reply = send(self._connection, archive, surface, inputs)
        ended = perf_counter()
        if reply.status == 200:
            self._truth.answered(archive, version_of(archive, inputs, _output(reply)), not_before, ended)
        else:
            fault = _misshapen(reply, surface)
            if fault:
                self._truth.misshapen(f"{archive.name} on {surface}: {fault}: {reply.status} {reply.body[:300]!r}")
            else:
                self._truth.failed(archive, _status(reply, surface), reply.body.decode(), began, ended)
        return reply.status

    def _drawn(self) -> NDArray[np.float32]:
        rows = self._dice.randint(1, 4)
        return np.array(self._dice.sample(range(-500, 500), rows * WIDTH), np.float32).reshape(rows, WIDTH)


def ask_once(port: int, archive: Archive, surface: str) -> int | str:
    """One request on a connection of its own; returns the version that answered, or what was said instead."""
    inputs = np.arange(WIDTH, dtype=np.float32).reshape(1, WIDTH)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    try:
        reply = send(connection, archive, surface, inputs)
    finally:
        connection.close()
    if reply.status != 200:
        return f"{reply.status} {reply.body[:200]!r}"
    return version_of(archive, inputs, _output(reply))


def send(connection: http.client.HTTPConnection, archive: Archive, surface: str, inputs: NDArray[np.float32]) -> Reply:
    """Ask one archive on one surface."""
    tensor = {"name": "INPUT0", "datatype": "FP32", "shape": inputs.shape, "data": inputs.ravel().tolist()}
    path = {
        "kserve": f"/v2/models/{archive.name}/infer",
        "container": "/invocations",
        "runtime": "/endpoints/any/invocations",
    }[surface]
    headers = {"Content-Type": "application/json"}
    if surface != "kserve":
        headers[TARGET] = archive.name
    connection.request("POST", path, json.dumps({"inputs": [tensor]}), headers)
    answer = connection.getresponse()
    return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def _output(reply: Reply) -> NDArray[np.float32]:
    (tensor,) = json.loads(reply.body)["outputs"]
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"])


def _status(reply: Reply, surface: str) -> int:
    """The status that the container contract has for it: the runtime wraps it."""
    if surface != "runtime":
        return reply.status
    document = json.loads(reply.body)
    if reply.status == 424:
        return int(document["OriginalStatusCode"])
    named = {"ModelNotReadyException": 503, "ServiceUnavailable": 503}
    if reply.headers["x-amzn-errortype"] == "ValidationError" and _ABSENT.search(document["Message"]):
        return 404
    return named.get(reply.headers["x-amzn-errortype"], reply.status)


def _misshapen(reply: Reply, surface: str) -> str:
    """What is wrong with the shape of a failure; empty where nothing is."""
    try:
        document: Any = json.loads(reply.body)
    except ValueError:
        return "no JSON"
    message = document.get("Message" if surface == "runtime" else "error")
    if not message or not isinstance(message, str):
        return "no message"
    if "internal error" in message:
        return "a bug of the server"
    if surface == "runtime" and "x-amzn-errortype" not in reply.headers:
        return "no x-amzn-errortype"
    if "x-request-id" not in reply.headers:
        return "no request id"
    return "no Retry-After" if "; try again in" in message and "retry-after" not in reply.headers else ""

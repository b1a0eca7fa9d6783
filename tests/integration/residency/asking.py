"""A KServe client on one kept-alive connection, light enough that sixteen of them do not slow the server down."""

import http.client
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from server.domain.inference import Array
from tests.integration.live_server import LiveServer

TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON body."""
        return json.loads(self.body)

    @property
    def output(self) -> Array:
        """The tensor OUTPUT0 of a KServe answer: FP32."""
        assert self.status == 200, f"{self.status}: {self.body[:500]!r}"
        tensor = next(each for each in self.document["outputs"] if each["name"] == "OUTPUT0")
        return np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])

    @property
    def warmth(self) -> str:
        """How warm the archive was."""
        return self.headers["x-roundhouse-warmth"]

    @property
    def load_ms(self) -> float:
        """What loading cost this request."""
        return float(self.headers["x-roundhouse-load-ms"])


class Client:
    """One connection. Not thread-safe."""

    def __init__(self, server: LiveServer) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
        """Send a request; underscores in names of `headers` are hyphens."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, sent)
        answer = self._connection.getresponse()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def infer(self, archive: str, inputs: Array) -> Reply:
        """Ask an archive over KServe v2: FP32 INPUT0 to OUTPUT0."""
        return self.call(
            "POST", f"/v2/models/{archive}/infer", kserve_body("FP32", inputs.shape, inputs.ravel().tolist())
        )

    def infer_text(self, archive: str, texts: list[str]) -> Reply:
        """Ask a text archive over KServe v2: BYTES INPUT0 to OUTPUT0."""
        return self.call("POST", f"/v2/models/{archive}/infer", kserve_body("BYTES", (len(texts), 1), texts))

    def unload(self, archive: str) -> Reply:
        """Free an archive's memory; returns when it is free."""
        return self.call("POST", f"/v2/repository/models/{archive}/unload")

    def residency(self) -> Any:
        """`/admin/residency`."""
        reply = self.call("GET", "/admin/residency")
        assert reply.status == 200, reply.body
        return reply.document


def kserve_body(datatype: str, shape: tuple[int, ...], data: list[Any]) -> bytes:
    """A KServe v2 request with the one input INPUT0."""
    tensor = {"name": "INPUT0", "datatype": datatype, "shape": list(shape), "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def charged_bytes(residency: Any) -> int:
    """What the ledger says is taken on the host."""
    return int(residency["devices"].get("cpu", {}).get("charged_bytes", 0))


def most_bytes(residency: Any) -> int:
    """What the ledger says that the process may hold right now: the charge, and what loads hold in passing."""
    cpu = residency["devices"].get("cpu", {})
    return int(cpu.get("charged_bytes", 0)) + int(cpu.get("loading_bytes", 0))


def least_bytes(residency: Any) -> int:
    """What the ledger says that the process holds at least: the charge without what is on its way in or out."""
    cpu = residency["devices"].get("cpu", {})
    return int(cpu.get("charged_bytes", 0)) - int(cpu.get("in_transit_bytes", 0))

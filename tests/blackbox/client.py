"""The callers' side: a server under test, and what the tests ask it with plain HTTP."""

import itertools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.blackbox.archives import Build, put
from tests.integration.live_server import LiveServer

TARGET = "X-Amzn-SageMaker-Target-Model"
BINARY = "application/vnd.sagemaker-triton.binary+json"
TIMEOUT_S = 60
_serial = itertools.count()


def tensor(
    data: Sequence[Any], shape: Sequence[int] | None = None, datatype: str = "FP32", name: str = "INPUT0"
) -> Any:
    """One KServe input."""
    return {
        "name": name,
        "shape": [1, len(data)] if shape is None else list(shape),
        "datatype": datatype,
        "data": list(data),
    }


def kserve(*tensors: Any, **more: Any) -> dict[str, Any]:
    """A KServe request document."""
    return {**more, "inputs": list(tensors)}


ONES = kserve(tensor([1.0, 1.0, 1.0, 1.0]))
"""Fits every archive that takes FP32 [batch, 4]."""


def text(words: str) -> dict[str, Any]:
    """A request for the archive `moody`."""
    return kserve(tensor([words], [1], "BYTES"))


def framed(
    document: Mapping[str, Any], tail: bytes, size: object = None, parameter: str = ";json-header-size="
) -> dict[str, Any]:
    """Arguments of `requests` for a binary request; `size` overrides the truth."""
    head = json.dumps(document).encode()
    value = len(head) if size is None else size
    return {"data": head + tail, "headers": {"Content-Type": f"{BINARY}{parameter}{value}"}}


def outputs(answer: requests.Response) -> dict[str, Any]:
    """The `data` of the outputs of a JSON answer, by name."""
    assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:2000]}"
    return {each["name"]: each["data"] for each in answer.json()["outputs"]}


@dataclass
class Client:
    """A running server, and its folders as the tests see them."""

    live: LiveServer
    engine: str
    folder: Path
    store: Path = field(default=Path("/nonexistent"))
    load_root: Path = field(default=Path("/nonexistent"))
    _leaving: list[Future[requests.Response]] = field(default_factory=list)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(4))

    def call(self, method: str, path: str, headers: Mapping[str, str] | None = None, **sent: Any) -> requests.Response:
        """One request on a connection of its own. Headers with the value "" are left out."""
        named = {name: value for name, value in (headers or {}).items() if value}
        sent = {"timeout": TIMEOUT_S, "allow_redirects": False, **sent}
        return requests.request(method, self.live.base_url + path, headers=named, **sent)

    def get(self, path: str, **sent: Any) -> requests.Response:
        """GET."""
        return self.call("GET", path, **sent)

    def ask(
        self, target: str, document: Any = None, headers: Mapping[str, str] | None = None, **sent: Any
    ) -> requests.Response:
        """POST /invocations for an archive ("": the default model) with a KServe document, or with `data`."""
        if "data" not in sent:
            sent["json"] = ONES if document is None else document
        return self.call("POST", "/invocations", {TARGET: target, **(headers or {})}, **sent)

    def invoke(self, model: str, document: Any = None, target: str = "", **sent: Any) -> requests.Response:
        """POST /models/<model>/invoke."""
        if "data" not in sent:
            sent["json"] = ONES if document is None else document
        return self.call("POST", f"/models/{model}/invoke", {TARGET: target, **sent.pop("headers", {})}, **sent)

    def load(self, model: str, url: object, target: str = "") -> requests.Response:
        """LOAD."""
        return self.call("POST", "/models", {TARGET: target}, json={"model_name": model, "url": str(url)})

    def unload(self, model: str, target: str = "") -> requests.Response:
        """UNLOAD."""
        return self.call("DELETE", f"/models/{model}", {TARGET: target})

    def let_go(self, model: str) -> None:
        """UNLOAD behind the test's back: Triton takes a second for each, in which it does nothing."""
        self._leaving.append(self._threads.submit(self.unload, model))

    def settle(self) -> None:
        """Wait for what `let_go` began. Fails where an UNLOAD did."""
        leaving, self._leaving = self._leaving, []
        assert [answer.status_code for answer in (each.result() for each in leaving) if answer.status_code != 200] == []

    def fresh_id(self) -> str:
        """An id that no test has used, as the platform makes them."""
        return f"{next(_serial):032x}"

    def place(self, build: Build) -> tuple[str, Path]:
        """Extract an archive below the load root as the platform does; returns its id and its url."""
        model = self.fresh_id()
        url = self.load_root / model / "model"
        url.mkdir(parents=True)
        build(url)
        return model, url

    def add(self, name: str, build: Build) -> str:
        """Put an archive into the store; returns its name."""
        put(self.store, name, build, self.folder / "scratch" / str(next(_serial)))
        return name

    def path(self, name: str) -> Path:
        """A path below the server's folder that no test has used, for gates and flags."""
        return self.folder / f"{name}-{next(_serial)}"

    def residency(self) -> Any:
        """`/admin/residency`."""
        return self.get("/admin/residency").json()

    def resident(self, name: str) -> Any:
        """A resident's entry there; None where it is not resident."""
        return next((each for each in self.residency()["residents"] if each["archive"] == name), None)

    def leases(self) -> int:
        """Leases on everything that is resident."""
        return sum(each["leases"] for each in self.residency()["residents"])

    def charged_bytes(self) -> int:
        """What the ledger says is taken."""
        return sum(device["charged_bytes"] for device in self.residency()["devices"].values())

    def engine_facts(self) -> Any:
        """`/admin/server`, what it says of the engine."""
        return self.get("/admin/server").json()["engine"]

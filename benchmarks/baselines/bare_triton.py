"""Triton's own cold start: the same repository, unpacked, in the very tritonserver that Roundhouse supervises.

Its models are copied into that server's repository beside the staged steps, which have other names, and loaded through
Triton's own repository API: same process, same flags, same backends, complete configs.
"""

import http.client
import json
import shutil
from pathlib import Path
from time import perf_counter
from typing import Final
from urllib.request import urlopen

TRITON: Final = Path(".triton")
"""Where `make triton` puts one."""


def supervised_pid(port: int) -> int:
    """The process id of the tritonserver that the Roundhouse at `port` supervises."""
    with urlopen(f"http://127.0.0.1:{port}/admin/server", timeout=30) as answer:
        return int(json.load(answer)["engine"]["pid"])


class SupervisedTriton:
    """The tritonserver with process id `pid`, as its own command line describes it."""

    def __init__(self, pid: int) -> None:
        """Raises KeyError where the command line lacks an expected flag."""
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        flags = dict(word.lstrip("-").split("=", 1) for word in words if word.startswith("--") and "=" in word)
        self.port = int(flags["http-port"])
        self._repository = Path(flags["model-repository"])

    def add(self, models: Path) -> None:
        """Copy every model below `models`."""
        for config in models.glob("*/config.pbtxt"):
            shutil.copytree(config.parent, self._repository / config.parent.name)

    def load(self, model: str) -> None:
        """Load one that was added, with what it calls."""
        self._post(f"/v2/repository/models/{model}/load", {})

    def cold_start(self, ensemble: str, text: str) -> dict[str, float]:
        """Load the ensemble with what it calls, ask once, unload; the first two in milliseconds."""
        shape = {"name": "INPUT0", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
        began = perf_counter()
        self.load(ensemble)
        loaded = perf_counter()
        self._post(f"/v2/models/{ensemble}/infer", {"inputs": [shape]})
        answered = perf_counter()
        self._post(f"/v2/repository/models/{ensemble}/unload", {"parameters": {"unload_dependents": True}})
        return {"load_ms": (loaded - began) * 1e3, "first_answer_ms": (answered - began) * 1e3}

    def _post(self, path: str, document: dict[str, object]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request("POST", path, json.dumps(document), {"content-type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise SystemExit(f"Triton, {path}: {answer.status} {said[:300]!r}")

"""Front-end workers on a real tritonserver: killed under load, while archives come and go, and nothing gets lost."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
import pytest
import requests

from tests.fakes import repositories
from tests.integration.live_server import LiveServer, live_server
from tests.integration.until import until

pytestmark = [pytest.mark.triton, pytest.mark.slow]

ADDS = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("OUTPUT0", pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy() + {number})]
            )
            for request in requests
        ]
"""
ARCHIVES = 3
ROOM_FOR_TWO = "52MiB"
CLIENTS = 8
REQUESTS_PER_CONNECTION = 40
PHASE_S = 2.0
KILLS = 3


def adding(store: Path, number: int) -> None:
    """An archive `add<number>` that adds its number."""
    repositories.python_model(
        store / f"add{number}" / "model",
        ADDS.format(number=number),
        "max_batch_size: 8",
        f"input [ {repositories.tensor_entry('INPUT0', 'FP32', [4])} ]",
        f"output [ {repositories.tensor_entry('OUTPUT0', 'FP32', [4])} ]",
    )


class Client:
    """Asks for one archive after the other, a while each, on connections of its own, and keeps book of the answers."""

    def __init__(self, port: int, number: int) -> None:
        self._port = port
        self._number = number
        self._asked = 0
        self.wrong: list[str] = []
        self.by_whom: Counter[str] = Counter()
        """Answers by the process that gave them, which request ids tell."""
        self.broken: list[int] = []
        """Its ports whose connections broke."""

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with suppress(ConnectionRefusedError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                own_port = writer.get_extra_info("sockname")[1]
                try:
                    for _ in range(REQUESTS_PER_CONNECTION):
                        if not stop.is_set():
                            await self._ask(reader, writer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    self.broken.append(own_port)
                finally:
                    writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        phase = asyncio.get_running_loop().time() / PHASE_S + (self._number % 2) / 2
        number = 1 + int(phase) % ARCHIVES  # half of the clients go on while the others are still there
        self._asked += 1
        values = [float(self._asked % 97 + each) for each in range(4)]
        body = json.dumps({"inputs": [{"name": "INPUT0", "shape": [1, 4], "datatype": "FP32", "data": values}]})
        head = f"POST /v2/models/add{number}/infer HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
        headers = dict(line.split(": ", 1) for line in answer.decode().lower().split("\r\n")[1:] if line)
        text = await reader.readexactly(int(headers["content-length"]))
        expected = [value + number for value in values]
        if status != 200 or json.loads(text)["outputs"][0]["data"] != expected:
            self.wrong.append(f"{status} {text[:200]!r}, not {expected}")
        self.by_whom[headers["x-request-id"].split("-")[0]] += 1


def worker_pids(server: LiveServer) -> list[int]:
    workers = requests.get(f"{server.base_url}/admin/server", timeout=10).json()["workers"]
    return [worker["pid"] for worker in workers]


def leases(server: LiveServer) -> int:
    residents = requests.get(f"{server.base_url}/admin/residency", timeout=10).json()["residents"]
    return sum(resident["leases"] for resident in residents)


def deaths(server: LiveServer) -> float:
    metrics = requests.get(f"{server.base_url}/metrics", timeout=10).text
    (line,) = (line for line in metrics.splitlines() if line.startswith("roundhouse_worker_deaths "))
    return float(line.split()[1])


def evicted(server: LiveServer) -> list[str]:
    decisions = requests.get(f"{server.base_url}/admin/residency", timeout=10).json()["evictions"]
    return [decision["archive"] for decision in decisions]


def kill(pid: int) -> set[int]:
    """Kill a worker; returns the ports of the clients that were connected to it."""
    worker = psutil.Process(pid)
    worker.suspend()  # whoever is connected now stays so until the end
    connected = {each.raddr.port for each in worker.net_connections("tcp") if each.status == psutil.CONN_ESTABLISHED}
    worker.send_signal(signal.SIGKILL)
    return connected


class Clients:
    """Several clients, until the block ends."""

    def __init__(self, port: int) -> None:
        self.each = [Client(port, number) for number in range(CLIENTS)]
        self._stop = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._running = [asyncio.create_task(each.run(self._stop)) for each in self.each]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.gather(*self._running)

    @property
    def by_whom(self) -> Counter[str]:
        return sum((each.by_whom for each in self.each), Counter())

    async def until(self, condition: Callable[[Counter[str]], object]) -> None:
        """Wait until the answers, by whom they came, are as wanted."""
        async with asyncio.timeout(30):
            while not condition(self.by_whom):
                await asyncio.sleep(0.02)


async def test_workers_are_killed_under_load_and_archives_evicted(tmp_path):
    store = tmp_path / "store"
    for number in range(1, ARCHIVES + 1):
        adding(store, number)
    flags = (
        "--engine",
        "triton",
        "--store",
        store,
        "--workers",
        2,
        "--memory-budget",
        ROOM_FOR_TWO,
        "--churn-guard-s",
        0,
    )
    with live_server(tmp_path / "server", *flags) as server:
        until(lambda: len(worker_pids(server)) == 2, 20, "two workers")
        home = requests.get(f"{server.base_url}/admin/server", timeout=10).headers["x-request-id"].split("-")[0]
        connected: set[int] = set()
        async with Clients(server.port) as clients:
            for turn in range(KILLS):
                seen = {home, *clients.by_whom}
                # Whoever took the place of a dead one is at work, on leases of its own.
                await clients.until(lambda by_whom, seen=seen: by_whom.keys() - seen)
                before = clients.by_whom
                await clients.until(lambda by_whom, before=before: by_whom.total() > before.total() + 100)
                pids = await asyncio.to_thread(worker_pids, server)
                connected |= await asyncio.to_thread(kill, pids[turn % len(pids)])
            async with asyncio.timeout(30):
                while not (evictions := await asyncio.to_thread(evicted, server)):
                    await asyncio.sleep(0.1)
        until(lambda: leases(server) == 0, 20, "every lease to come back")
        until(lambda: deaths(server) >= KILLS, 20, "every death to be seen")
        seen_dead = deaths(server)
    assert evictions
    assert [wrong for each in clients.each for wrong in each.wrong] == []
    broken = {port for each in clients.each for port in each.broken}
    assert broken, "no connection broke, so nothing is proven"
    assert broken <= connected, "a connection broke whose worker lived"
    assert seen_dead == KILLS
    assert clients.by_whom.total() > 2 * clients.by_whom[home], "most requests have to be answered on leases"

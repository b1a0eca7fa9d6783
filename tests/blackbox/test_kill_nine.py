"""`kill -9` of tritonserver under load and inference, and of the whole server: nothing stays, the next request is served."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from server.domain.clock import SystemClock
from tests.blackbox import steps
from tests.blackbox.archives import fill, one
from tests.blackbox.client import Client, outputs, text
from tests.integration.live_server import live_server, start
from tests.integration.until import until

pytestmark = pytest.mark.slow

RECOVERY_S = 20
MOODY = "moody.tar.gz"
SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def to_be_killed(folder):
    """A Triton server of our own. Its back-off grows with each death, so no test takes over many."""
    fill(folder / "store", folder / "unpacked")
    with live_server(folder, "--engine", "triton", "--store", folder / "store") as live:
        yield Client(live, "triton", folder, folder / "store")


@pytest.fixture(scope="module")
def triton(tmp_path_factory):
    """One for three deaths, with time to recover."""
    with to_be_killed(tmp_path_factory.mktemp("killed")) as client:
        yield client


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as threads:
        yield threads


def tree(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]


def are_gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs. `is_running` also compares start times, so a reused id does not count."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def shared_memory(client) -> list[str]:
    """Shared memory of the steps of the server's tritonservers, as long as their folder is there to name them."""
    folders = [folder.name for folder in (client.folder / "cache" / "triton").glob("triton-*")]
    return [path.name for path in SHARED_MEMORY.iterdir() if any(f"_{name}_" in path.name for name in folders)]


def kill(client) -> list[psutil.Process]:
    """`kill -9` tritonserver; returns it and its children."""
    pid = client.engine_facts()["pid"]
    processes = tree(pid)
    os.kill(pid, signal.SIGKILL)
    return processes


def check_nothing_is_left(client, killed) -> None:
    """Old processes are gone, nothing is leased, and the charge is that of the steps which are resident."""
    until(lambda: are_gone(killed), what="the end of the old processes")
    assert client.leases() == 0
    residency = client.residency()
    charged = sum(sum(step["charged_bytes"].values()) for step in residency["steps"])
    assert charged == client.charged_bytes()
    assert {step["state"] for step in residency["steps"]} <= {"resident"}
    assert client.engine_facts()["resident_steps"] == len(residency["steps"])


@pytest.mark.triton
def test_again_while_it_recovers(tmp_path, pool):
    """Deaths while eight clients ask: every answer is right or a clear 503, and in the end all are right."""
    with to_be_killed(tmp_path) as client:
        deaths_under_load(client, pool)


def deaths_under_load(triton, pool) -> None:
    names = ["linear.tar.gz", "pipeline.tar.gz", "echo.tar.gz"]
    right = {name: outputs(triton.ask(name)) for name in names}
    for _ in range(2):
        asked = [(name, pool.submit(triton.ask, name)) for _ in range(4) for name in names]
        killed = kill(triton)
        for name, each in asked:
            answer = each.result()
            assert answer.status_code in (200, 503), answer.text
            assert answer.status_code == 503 or outputs(answer) == right[name]
        until(lambda: triton.ask("echo.tar.gz").status_code == 200, RECOVERY_S, "the next answer")
    assert {name: outputs(triton.ask(name)) for name in names} == right
    check_nothing_is_left(triton, killed)


@pytest.mark.triton
def test_while_nothing_runs(triton, record_testsuite_property):
    clock = SystemClock()
    before = outputs(triton.ask("pipeline.tar.gz"))
    restarts = triton.engine_facts()["restarts"]
    killed, began = kill(triton), clock.now()
    assert outputs(triton.ask("pipeline.tar.gz")) == before
    took_s = clock.now() - began
    record_testsuite_property("from kill -9 to the next answer, s", round(took_s, 3))
    assert took_s < RECOVERY_S
    assert triton.engine_facts()["restarts"] == restarts + 1
    check_nothing_is_left(triton, killed)


@pytest.mark.triton
def test_while_it_infers(triton, pool):
    """The request is sent again to the restarted tritonserver: its caller sees an answer, only later."""
    assert triton.ask(MOODY, text("hello")).status_code == 200
    gate = triton.path("gate")
    running = pool.submit(triton.ask, MOODY, text(f"wait {gate}"))
    others = [pool.submit(triton.ask, MOODY, text(f"wait {gate}")) for _ in range(2)]
    try:
        until(Path(f"{gate}.waiting").exists, what="the request")
        killed = kill(triton)
    finally:
        gate.touch()
    for each in (running, *others):
        answer = each.result()
        assert answer.status_code in (200, 503), answer.text
        assert answer.status_code == 200 or answer.json()["error"]
    assert outputs(triton.ask(MOODY, text("hello"))) == {"OUTPUT0": ["hello"]}
    check_nothing_is_left(triton, killed)


@pytest.mark.triton
def test_while_it_loads(triton, pool):
    gate = triton.path("gate")
    name = triton.add(f"{gate.name}.tar.gz", one(lambda folder: steps.gated(folder, gate)))
    assert triton.ask("linear.tar.gz").status_code == 200
    loading = pool.submit(triton.ask, name)
    try:
        until(Path(f"{gate}.waiting").exists, what="the load")
        killed = kill(triton)
        assert triton.get("/ping", timeout=2).status_code in (200, 503)
    finally:
        gate.touch()
    answer = loading.result()
    assert answer.status_code in (200, 503), answer.text
    until(lambda: triton.ask(name).status_code == 200, RECOVERY_S, "the archive that was loading")
    assert triton.ask("linear.tar.gz").status_code == 200
    check_nothing_is_left(triton, killed)


def test_of_the_whole_server_leaves_no_process_and_a_cache_that_the_next_one_uses(engine, tmp_path):
    (tmp_path / "store").mkdir()
    flags = ("--engine", engine, "--store", tmp_path / "store")
    server = start(tmp_path, *flags)
    server.await_ready()
    client = Client(server, engine, tmp_path, tmp_path / "store")
    client.add("echo.tar.gz", one(steps.moody))
    assert client.ask("echo.tar.gz", text("hello")).status_code == 200
    processes, segments = tree(server.pid), shared_memory(client)
    assert len(processes) > 1
    os.kill(server.pid, signal.SIGKILL)
    assert server.wait() == -signal.SIGKILL
    until(lambda: are_gone(processes), what="the end of its processes")
    with live_server(tmp_path, *flags) as live:
        again = Client(live, engine, tmp_path, tmp_path / "store")
        answer = again.ask("echo.tar.gz", text("hello"))
        assert (answer.status_code, answer.headers["x-roundhouse-warmth"]) == (200, "disk")
        assert [file for file in (tmp_path / "cache" / "tmp").rglob("*") if file.is_file()] == []
        assert [name for name in segments if (SHARED_MEMORY / name).exists()] == []


def test_a_server_that_stops_leaves_nothing(engine, tmp_path):
    (tmp_path / "store").mkdir()
    with live_server(tmp_path, "--engine", engine, "--store", tmp_path / "store") as live:
        client = Client(live, engine, tmp_path, tmp_path / "store")
        client.add("echo.tar.gz", one(steps.moody))
        assert client.ask("echo.tar.gz", text("hello")).status_code == 200
        processes, segments = tree(live.pid), shared_memory(client)
        assert bool(segments) is (engine == "triton")
    assert are_gone(processes)
    assert [name for name in segments if (SHARED_MEMORY / name).exists()] == []
    assert list(tmp_path.glob("cache/triton/*/run-*")) == []

"""One server per engine and mode for all black-box tests; a test that would disturb others starts its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blackbox.archives import fill, one
from tests.blackbox.client import Client
from tests.fakes.repositories import onnx_linear, python_echo
from tests.integration.conftest import pytest_runtest_makereport  # noqa: F401 - shows servers' logs with failures
from tests.integration.live_server import live_server

HERE = Path(__file__).parent
MULTI = {"SAGEMAKER_MULTI_MODEL": "true"}
_shared: list[Client] = []
"""Servers of this folder's fixtures that run. They are worth their memory only as long as tests of this folder follow."""


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After the folder's last test end its servers, which session fixtures would keep to the end of all tests."""
    if nextitem is None or not nextitem.path.is_relative_to(HERE):
        ending, _shared[:] = _shared[:], []
        for client in ending:
            client.settle()
            client.live.terminate()
        for client in ending:  # side by side: a tritonserver takes up to ten seconds, in which it only waits
            client.live.stop()


def shared(client: Client) -> Client:
    """Note a server for its end."""
    _shared.append(client)
    return client


@pytest.fixture(scope="session", params=["embedded", pytest.param("triton", marks=pytest.mark.triton)])
def engine(request) -> str:
    """Which engine runs the steps. Triton is what `make triton` installs; without it these tests fail and say so."""
    return request.param


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """The archives of `archives.STORE`, packed once."""
    folder = tmp_path_factory.mktemp("store")
    fill(folder, tmp_path_factory.mktemp("unpacked"))
    return folder


@pytest.fixture(scope="session")
def multi(engine, store, tmp_path_factory) -> Iterator[Client]:
    """Multi-model mode, with a load root and with a store beside it."""
    folder = tmp_path_factory.mktemp(f"multi-{engine}")
    load_root = folder / "models"
    load_root.mkdir()
    flags = ("--engine", engine, "--store", store, "--load-root", load_root)
    with live_server(folder, *flags, environ=MULTI) as live:
        client = shared(Client(live, engine, folder, store, load_root))
        yield client
        client.settle()


@pytest.fixture(scope="session")
def single(engine, tmp_path_factory) -> Iterator[Client]:
    """Single-model mode."""
    folder = tmp_path_factory.mktemp(f"single-{engine}")
    one(onnx_linear, "linear")(folder / "model")
    (folder / "models").mkdir()
    flags = ("--engine", engine, "--model", folder / "model", "--load-root", folder / "models")
    with live_server(folder, *flags) as live:
        yield shared(Client(live, engine, folder, load_root=folder / "models"))


@pytest.fixture(scope="session")
def tight(engine, tmp_path_factory) -> Iterator[Client]:
    """A server whose limits are within reach: two requests, one second for a load, 64 KiB of body, 1 MiB of archive."""
    folder = tmp_path_factory.mktemp(f"tight-{engine}")
    (folder / "store").mkdir()
    flags = ["--engine", engine, "--store", folder / "store", "--max-in-flight", 2, "--load-timeout-s", 1]
    flags += ["--request-timeout-s", 3, "--max-body", "64KiB", "--max-archive", "1MiB"]
    with live_server(folder, *flags) as live:
        client = shared(Client(live, engine, folder, folder / "store"))
        client.add("echo.tar.gz", one(python_echo))
        yield client

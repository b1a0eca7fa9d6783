"""Servers for the HTTP contract: one per test file where tests leave no traces, a fresh one where they do."""

from pathlib import Path

import pytest

from tests.contract.http_fakes import Wiring, fake_server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A multi-model server without a default model."""
    with fake_server(Wiring(tmp_path_factory.mktemp("models"))) as running:
        yield running


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """A single-model server: `/invocations` goes to echo.tar.gz."""
    with fake_server(Wiring(tmp_path_factory.mktemp("models"), default_model="echo.tar.gz")) as running:
        yield running


@pytest.fixture
def start(tmp_path):
    """Start a server with settings of the test's own: `start(max_in_flight=1)`."""
    from contextlib import ExitStack

    with ExitStack() as servers:

        def started(**settings):
            root = Path(tmp_path) / "models"
            root.mkdir(exist_ok=True)
            return servers.enter_context(fake_server(Wiring(root, **settings)))

        yield started

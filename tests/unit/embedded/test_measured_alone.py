"""What an unload frees must not fall into the moments in which a load is measured: it would be missing there."""

import asyncio
import threading

import pytest

from server.engines.embedded.engine import EmbeddedEngine
from tests.fakes import repositories


class NotedStep:
    def __init__(self, backend, name):
        self.backend, self.name = backend, name

    def outside_bytes(self):
        return self.backend.outside_bytes

    def close(self):
        self.backend.history.append(f"{self.name} freed")


class NotedBackend:
    """Loads wait for `gate`."""

    def __init__(self):
        self.gate, self.began = threading.Event(), threading.Event()
        self.gate.set()
        self.outside_bytes = 0
        self.history = []

    def load(self, step, config, callees):
        self.began.set()
        self.gate.wait(5)
        self.history.append(f"{step.name} loaded")
        return NotedStep(self, step.name)

    def close(self):
        pass


@pytest.fixture
async def house(tmp_path):
    backend = NotedBackend()
    engine = EmbeddedEngine({"onnxruntime": backend})
    await engine.start(lambda _: None)
    steps = [repositories.staged_steps(repositories.onnx_identity(tmp_path / name))[0] for name in ("one", "two")]
    yield engine, backend, *steps
    backend.gate.set()
    await engine.stop()


async def begin_load_and_unload(house):
    engine, backend, one, two = house
    await engine.load(one)
    backend.gate.clear()
    backend.began.clear()
    load = asyncio.create_task(engine.load(two))
    await asyncio.to_thread(backend.began.wait, 5)
    return load, asyncio.create_task(engine.unload(one.digest))


async def test_an_unload_waits_for_the_load_that_is_measured(house):
    backend = house[1]
    load, unload = await begin_load_and_unload(house)

    backend.gate.set()
    await asyncio.gather(load, unload)

    assert backend.history == ["one loaded", "two loaded", "one freed"]


async def test_a_step_in_a_process_of_its_own_is_freed_at_once(house):
    backend = house[1]
    backend.outside_bytes = 1 << 20
    load, unload = await begin_load_and_unload(house)

    await unload
    backend.gate.set()
    await load

    assert backend.history == ["one loaded", "one freed", "two loaded"]

"""What has to be measured loads alone; what is known loads beside others and is charged as before."""

import asyncio
import threading
from dataclasses import replace

import pytest

from server.domain.model import CPU, Footprint
from server.engines.embedded.engine import EmbeddedEngine
from tests.fakes import repositories

KNOWN = Footprint({CPU: 3_000_000}, is_measured=True)
GUESSED = Footprint({CPU: 3_000_000})


class Weightless:
    def outside_bytes(self):
        return 0

    def close(self):
        pass


class Gated:
    """Loads tell that they `begun` and wait for `gate`. `most` is how many waited at once."""

    def __init__(self):
        self.gate, self.begun, self.lock = threading.Event(), threading.Semaphore(0), threading.Lock()
        self.inside = self.most = 0

    def load(self, step, config, callees):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.begun.release()
        self.gate.wait(5)
        with self.lock:
            self.inside -= 1
        return Weightless()

    def close(self):
        self.gate.set()


@pytest.fixture
async def house(tmp_path):
    backend = Gated()
    engine = EmbeddedEngine({"onnxruntime": backend})
    await engine.start(lambda _: None)
    steps = [repositories.staged_steps(repositories.onnx_identity(tmp_path / name))[0] for name in ("one", "two")]
    yield engine, backend, steps
    backend.gate.set()
    await engine.stop()


async def until_begun(backend, loads):
    for _ in range(loads):
        assert await asyncio.to_thread(backend.begun.acquire, timeout=5)


async def loaded(house, predicted):
    engine, backend, steps = house
    loads = [asyncio.create_task(engine.load(replace(step, predicted=predicted))) for step in steps]
    await until_begun(backend, 2 if predicted is KNOWN else 1)
    backend.gate.set()
    return await asyncio.gather(*loads)


async def test_steps_that_residency_has_seen_measured_load_side_by_side_at_what_was_measured(house):
    footprints = await loaded(house, KNOWN)
    assert house[1].most == 2
    assert [footprint.on(CPU) for footprint in footprints] == [3_000_000, 3_000_000]


async def test_a_guess_is_no_measurement(house):
    footprints = await loaded(house, GUESSED)
    assert house[1].most == 1
    assert all(footprint.on(CPU) < 3_000_000 for footprint in footprints)


async def test_what_was_measured_once_need_not_be_measured_again(house):
    engine, backend, steps = house
    backend.gate.set()
    first = [await engine.load(step) for step in steps]
    for step in steps:
        await engine.unload(step.digest)
    backend.gate.clear()
    loads = [asyncio.create_task(engine.load(step)) for step in steps]
    await until_begun(backend, 4)
    backend.gate.set()
    assert await asyncio.gather(*loads) == first


async def test_a_load_tells_what_it_took(house):
    engine, backend, steps = house
    backend.gate.set()
    footprint = await engine.load(steps[0])
    assert 0 <= footprint.took.warm_up_s <= footprint.took.load_s < 60
    assert footprint.took.load_s > 0

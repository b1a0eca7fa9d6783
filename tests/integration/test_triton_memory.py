"""What steps take in a real Triton, and that they give it back."""

import asyncio

import psutil
import pytest

from server.domain.errors import EngineLost
from server.domain.model import CPU
from tests.differential.engines import running_triton, staged
from tests.fakes import repositories

pytestmark = [pytest.mark.triton, pytest.mark.slow]

MIB = 1024**2


async def test_a_step_is_measured_and_its_memory_comes_back(tmp_path):
    archive = staged(repositories.onnx_linear(tmp_path / "linear", ballast_bytes=80 * MIB))
    async with running_triton(tmp_path / "run") as engine:
        server = psutil.Process(engine.describe()["pid"])
        predicted = engine.predict(archive.entry_step)
        measured = await engine.load(archive.entry_step)
        assert 80 * MIB < measured.on(CPU) < 400 * MIB
        assert 0.4 < predicted.on(CPU) / measured.on(CPU) < 2.5
        assert len(server.children()) == 1
        await engine.unload(archive.entry)
        assert server.children() == []
        with pytest.raises(EngineLost):
            await engine.infer(archive.entry, None)
        again = await engine.load(archive.entry_step)
        assert 0.8 < again.on(CPU) / measured.on(CPU) < 1.25


async def test_an_ensemble_is_unloaded_without_its_steps(tmp_path):
    pipeline = staged(repositories.echo_pipeline(tmp_path / "pipeline"))
    async with running_triton(tmp_path / "run") as engine:
        for step in pipeline.steps:
            await engine.load(step)
        stubs = psutil.Process(engine.describe()["pid"]).children()
        await engine.unload(pipeline.entry)
        assert sorted(psutil.Process(engine.describe()["pid"]).children(), key=str) == sorted(stubs, key=str)
        await engine.load(pipeline.entry_step)
        assert sorted(psutil.Process(engine.describe()["pid"]).children(), key=str) == sorted(stubs, key=str)


async def test_unloads_run_side_by_side(tmp_path):
    archives = [staged(repositories.python_echo(tmp_path / f"echo{n}", dims=[n])) for n in range(1, 4)]
    async with running_triton(tmp_path / "run") as engine:
        for archive in archives:
            await engine.load(archive.entry_step)
        await asyncio.gather(*(engine.unload(archive.entry) for archive in archives))
        assert psutil.Process(engine.describe()["pid"]).children() == []
        assert engine.describe()["resident_steps"] == 0


async def test_unloading_the_unknown_is_ignored(tmp_path):
    async with running_triton(tmp_path / "run") as engine:
        await engine.unload("0" * 64)
        assert engine.is_ready

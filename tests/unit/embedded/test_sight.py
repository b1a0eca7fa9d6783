"""What the embedded engine says that it holds, against what its steps are charged with."""

import asyncio
import mmap
import os

import pytest

from server.domain.errors import UnsupportedOperation
from server.domain.model import CPU
from server.engines import process_memory
from server.engines.process_memory import mapped_below, own_bytes
from tests.differential.engines import running_embedded, staged
from tests.fakes import repositories

MB = 1_000_000
BALLAST = 12 * MB


async def load_all(engine, archive):
    return sum([(await engine.load(step)).on(CPU) for step in archive.steps])


async def test_what_is_held_is_overhead_and_charges(tmp_path):
    archives = [
        staged(repositories.onnx_linear(tmp_path / f"m{seed}", seed=seed, ballast_bytes=BALLAST)) for seed in range(3)
    ]
    async with running_embedded() as engine:
        empty = await engine.observe()
        assert empty.steps == frozenset()
        base = empty.held[CPU] - empty.overhead[CPU]  # other tests' garbage in this process
        charged = 0
        for archive in archives:
            charged += await load_all(engine, archive)
            seen = await engine.observe()
            assert not seen.is_disturbed
            assert seen.held[CPU] - seen.overhead[CPU] - base == pytest.approx(charged, abs=0.1 * charged)
        assert seen.steps == {archive.entry for archive in archives}

        await engine.unload(archives[0].entry)
        left = await engine.observe()
        assert left.steps == {archive.entry for archive in archives[1:]}
        assert seen.held[CPU] - left.held[CPU] == pytest.approx(charged / 3, rel=0.15)


async def test_a_python_step_s_own_process_counts(tmp_path):
    archive = staged(repositories.python_echo(tmp_path / "echo"))
    async with running_embedded() as engine:
        empty = await engine.observe()
        charged = await load_all(engine, archive)
        seen = await engine.observe()
        assert charged > 5 * MB
        assert seen.held[CPU] - empty.held[CPU] == pytest.approx(charged, rel=0.25)


async def test_a_look_waits_for_loads_and_holds_none_up_for_long(tmp_path):
    archive = staged(repositories.onnx_linear(tmp_path / "linear", ballast_bytes=BALLAST))
    async with running_embedded() as engine:
        loading = asyncio.create_task(engine.load(archive.entry_step))
        await asyncio.sleep(0)
        seen = await engine.observe()
        await loading
        assert seen.steps in (frozenset(), {archive.entry})
        assert seen.steps == frozenset() or seen.held[CPU] - seen.overhead[CPU] > BALLAST


async def test_before_its_start_and_for_good_there_is_nothing_to_renew(tmp_path):
    async with running_embedded() as engine:
        assert not engine.can_renew
        with pytest.raises(UnsupportedOperation, match="restart the server"):
            await engine.renew()
    assert await engine.observe() is None


def test_a_part_of_a_file_that_is_mapped_twice_counts_once(tmp_path):
    for name in ("inside/1", "beside"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "inside" / "1" / "weights").write_bytes(bytes(1 << 20))
    (tmp_path / "beside" / "weights").write_bytes(bytes(1 << 20))
    assert mapped_below([tmp_path / "inside"]) == 0
    opened = [(tmp_path / name / "weights").open("rb") for name in ("inside/1", "inside/1", "beside")]
    mapped = [mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) for file in opened]
    try:
        assert mapped_below([tmp_path / "inside"]) == 1 << 20
        assert mapped_below([tmp_path / "inside", tmp_path / "beside"]) == 2 << 20
        assert mapped_below([]) == 0
    finally:
        for each in [*mapped, *opened]:
            each.close()


def test_own_memory_is_told_of_any_process_and_is_nothing_where_there_is_none():
    assert MB < own_bytes(os.getpid()) < 100_000 * MB
    assert own_bytes(2**22 + 1) == 0


def test_a_folder_that_is_reached_by_a_link_is_seen_and_thousands_leave_nothing_behind(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "weights").write_bytes(bytes(1 << 20))
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "above").symlink_to(tmp_path)
    with (real / "weights").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        for folder in (real, tmp_path / "link", tmp_path / "above" / "real", tmp_path / "above" / "link"):
            assert mapped_below([folder]) == 1 << 20
    before = process_memory._resolved_parent.cache_info().currsize
    mapped_below([tmp_path / f"step-{number}" for number in range(1000)])
    assert process_memory._resolved_parent.cache_info().currsize <= before + 1

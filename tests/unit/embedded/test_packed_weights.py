"""Steps over packed weights: the same answers from less memory, and which of two sessions an execution takes."""

import threading

import numpy as np
import pytest

from server.domain.errors import LoadFailed
from server.domain.inference import InferenceRequest
from server.domain.model import CPU
from server.engines.embedded.backends.onnx_packer import is_same
from server.engines.embedded.backends.onnx_packing import recipe
from server.engines.embedded.backends.onnx_step import AFTER_A_CROWD_S, WORTH_IT, PackableStep, Sessions, Turns
from server.engines.embedded.backends.packed_files import GRAPH, PackedFiles
from server.engines.embedded.loading.loader import read_config
from tests.differential.engines import staged
from tests.fakes import repositories
from tests.fakes.clock import FakeClock
from tests.fakes.packed_steps import MB, SIDE, ask, entries, linear, packed, running


@pytest.mark.parametrize("is_external", [False, True])
async def test_the_answers_are_the_same_bits_before_and_after(tmp_path, is_external):
    step = linear(tmp_path, is_external=is_external)
    async with running(tmp_path) as engine:
        charged = (await engine.load(step)).on(CPU)
        before = await ask(engine, step)
        await packed(engine, step)
        np.testing.assert_array_equal(await ask(engine, step), before)
        assert len(entries(tmp_path)) == 1
        await engine.unload(step.digest)
        assert (await engine.load(step)).on(CPU) == charged
        np.testing.assert_array_equal(await ask(engine, step), before)


async def test_what_is_held_stays_within_the_charge(tmp_path):
    side = 3584  # 51 MB: beside it what other tests in this process leave, or free, is small
    step = linear(tmp_path, side=side)
    async with running(tmp_path) as engine:
        empty = await engine.observe()
        charged = (await engine.load(step)).on(CPU)
        await ask(engine, step)
        await packed(engine, step)
        seen = await engine.observe()
        assert 4 * side**2 * 0.9 < seen.held[CPU] - empty.held[CPU] < 1.2 * charged
    async with running(tmp_path) as engine:  # measured with packed weights, and with what a second session will take
        assert (await engine.load(step)).on(CPU) == pytest.approx(charged, rel=0.2)


async def test_weights_of_no_use_are_thrown_away(tmp_path):
    step = linear(tmp_path)
    async with running(tmp_path) as engine:
        await engine.load(step)
        before = await ask(engine, step)
        await packed(engine, step)
        await engine.unload(step.digest)
        (damaged,) = (tmp_path / "packed").glob(f"*/{GRAPH}")
        damaged.write_bytes(b"no graph")
        await engine.load(step)
        np.testing.assert_array_equal(await ask(engine, step), before)
        assert entries(tmp_path) == []  # to be made again


@pytest.mark.parametrize("cause", ["no room", "a runtime that cannot"])
async def test_a_step_stays_as_it_is_where_its_weights_cannot_be_packed(tmp_path, monkeypatch, cause):
    if cause == "a runtime that cannot":
        monkeypatch.setattr("server.engines.embedded.backends.onnx_packing._PACKER", "tests.fakes.crashing_packer")
    step = linear(tmp_path)
    async with running(tmp_path, quota=MB if cause == "no room" else 1 << 30) as engine:
        await engine.load(step)
        before = await ask(engine, step)
        await packed(engine, step)
        np.testing.assert_array_equal(await ask(engine, step), before)
        assert entries(tmp_path) == []


async def test_weights_of_an_odd_size_are_packed_right_or_not_at_all(tmp_path):
    step = linear(tmp_path, side=SIDE - 26)  # some processors' runtimes pack these, others crash: the proof finds out
    async with running(tmp_path) as engine:
        await engine.load(step)
        before = await ask(engine, step)
        await packed(engine, step)
        np.testing.assert_array_equal(await ask(engine, step), before)
        assert len(entries(tmp_path)) <= 1


async def test_weights_that_two_steps_map_stay_shared(tmp_path):
    steps = [
        linear(tmp_path, name, is_external=True, extra=f"version_policy {{ latest {{ num_versions: {count} }} }}")
        for count, name in enumerate("ab", 1)
    ]
    assert steps[0].digest != steps[1].digest
    assert {file.digest for file in steps[0].weights} == {file.digest for file in steps[1].weights} != set()
    async with running(tmp_path) as engine:
        for step in steps:
            await engine.load(step)
        await ask(engine, steps[0])
        await packed(engine, steps[0])
        assert entries(tmp_path) == []
        await engine.unload(steps[1].digest)
        await packed(engine, steps[0])
        assert len(entries(tmp_path)) == 1
        assert (await engine.load(steps[1])).mapped == {}  # the first one's are somewhere else by now


async def test_a_step_that_left_is_not_packed(tmp_path):
    step = linear(tmp_path)
    async with running(tmp_path) as engine:
        await engine.load(step)
        await ask(engine, step)
        await engine.unload(step.digest)
        await packed(engine, step)
        assert entries(tmp_path) == []


@pytest.mark.parametrize(
    "extra",
    [
        'parameters { key: "intra_op_thread_count" value: { string_value: "2" } }',
        'parameters { key: "session.disable_prepacking" value: { string_value: "1" } }',
    ],
)
def test_a_config_that_says_how_its_session_is_to_be_has_its_way(tmp_path, extra):
    files = PackedFiles(tmp_path / "packed", 1 << 30)
    plain, special = (
        recipe(step, read_config(step), step.directory / "1/model.onnx", CPU, 2, files)
        for step in (linear(tmp_path, "plain"), linear(tmp_path, "special", extra=extra))
    )
    assert plain is not None
    assert special is None


def test_what_gains_nothing_is_not_packed(tmp_path):
    step, files = linear(tmp_path), PackedFiles(tmp_path / "packed", 1 << 30)
    config, source = read_config(step), step.directory / "1/model.onnx"
    small = staged(repositories.onnx_linear(tmp_path / "small")).entry_step
    assert recipe(step, config, source, CPU, 2, files) is not None
    assert recipe(step, config, source, CPU, 1, files) is None  # the second session would be as the first
    assert recipe(step, config, source, "gpu:0", 2, files) is None
    assert recipe(step, config, source, CPU, 2, None) is None
    assert recipe(step, config, source, CPU, 2, PackedFiles(tmp_path / "packed", 0)) is None
    assert recipe(small, read_config(small), source, CPU, 2, files) is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1.0, 100.0], [1.0001, 100.0], True),
        ([1.0, 100.0], [1.5, 100.0], False),
        ([1.0, np.nan], [1.0, np.nan], True),
        ([1.0, np.nan], [1.0, 1.0], False),
        ([1.0, np.inf], [1.5, np.inf], False),
        ([], [], True),
        ([1.0], [1.0, 1.0], False),
        (["a"], ["a"], True),
        ([1], [2], False),
        (None, None, True),
        (None, [1.0], False),
    ],
)
def test_what_a_proof_lets_pass(one, other, expected):
    assert is_same(*(None if each is None else np.array(each) for each in (one, other))) == expected


class Session:
    """Answers at once, unless a `gate` is there to wait for; counts."""

    def __init__(self, gate=None):
        self.runs, self.gate, self.has_begun = 0, gate, threading.Event()

    def run(self, names, feed):
        self.runs += 1
        self.has_begun.set()
        if self.gate is not None:
            self.gate.wait(5)
        return [np.zeros(1, np.float32) for _ in names]


class Kitchen:
    """A recipe whose sessions are fakes."""

    own_bytes = 7

    def __init__(self, graph):
        self.graph, self.made = graph, Session()

    def find(self):
        return self.graph

    def make(self, sample):
        raise AssertionError("it is there")

    def narrow(self, _graph):
        if self.made is None:
            raise ValueError("broken")
        return self.made

    def wide(self, _graph):
        return self.made


def fake_step(tmp_path, sessions, turns=None, told=None):
    step = staged(repositories.onnx_identity(tmp_path / "m")).entry_step
    kitchen = Kitchen(tmp_path / "packed" / GRAPH)
    return PackableStep(
        step, sessions, turns or Turns(2, FakeClock()), kitchen, (told if told is not None else []).append
    ), kitchen


def execute(step):
    return step.execute(InferenceRequest({}, ("OUTPUT0",)))


def test_one_execution_takes_all_threads_and_two_take_one_each(tmp_path):
    gate = threading.Event()
    wide, narrow, clock = Session(gate), Session(), FakeClock()
    turns = Turns(2, clock)
    step, _ = fake_step(tmp_path, Sessions(wide, narrow, tmp_path / GRAPH), turns)
    first = threading.Thread(target=execute, args=(step,))
    first.start()
    wide.has_begun.wait(5)
    execute(step)
    assert (wide.runs, narrow.runs) == (1, 1)
    gate.set()
    first.join()
    execute(step)
    assert (wide.runs, narrow.runs) == (1, 2), "there was a crowd a moment ago"
    clock.advance(2 * AFTER_A_CROWD_S)
    execute(step)
    assert (wide.runs, narrow.runs) == (2, 2)


@pytest.mark.parametrize(("cores", "running", "expected"), [(2, 1, False), (2, 2, True), (8, 4, False), (8, 5, True)])
def test_it_is_crowded_once_there_is_less_than_two_cores_for_each(cores, running, expected):
    turns = Turns(cores, FakeClock())
    for _ in range(running):
        turns.take()
    assert turns.is_crowded() == expected


def test_a_step_asks_once_it_has_run_often_enough(tmp_path):
    told = []
    step, _ = fake_step(tmp_path, Sessions(Session()), told=told)
    for _ in range(WORTH_IT - 1):
        execute(step)
    assert told == []
    execute(step)
    execute(step)
    assert told == [step._step.digest]
    assert step.reserve_bytes == 7
    assert step.pack()
    assert (step.reserve_bytes, step.folder) == (0, tmp_path / "packed")


def test_a_step_that_was_loaded_from_packed_weights_gets_its_second_session_later(tmp_path):
    told = []
    step, kitchen = fake_step(tmp_path, Sessions(Session(), None, tmp_path / "packed" / GRAPH), told=told)
    for _ in range(WORTH_IT + 1):
        execute(step)
    assert told == []
    step.settle()
    step.settle()
    assert step._sessions.narrow is kitchen.made


def test_a_second_session_that_cannot_be_made_is_told(tmp_path):
    step, kitchen = fake_step(tmp_path, Sessions(Session(), None, tmp_path / "packed" / GRAPH))
    kitchen.made = None
    with pytest.raises(LoadFailed):
        step.settle()


def test_a_step_that_is_closed_meanwhile_stays_closed(tmp_path):
    step, _ = fake_step(tmp_path, Sessions(Session()))
    step.close()
    assert step.pack()
    assert step._sessions is None
    assert step.folder is None
    step.settle()

"""Worker processes that die, hang, talk too much or lose their parent."""

import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from server.domain.errors import EngineLost, InferenceFailed, LoadFailed
from server.engines.embedded.backends.python import PythonBackend
from tests.fakes.clock import FakeClock
from tests.unit.python_steps.step_folders import ECHO, FakeCallees, StepRig, open_descriptors, output_of, request_of

FRAGILE = """
    import ctypes, os, signal, sys, time
    import numpy as np
    import triton_python_backend_utils as pb_utils

    class TritonPythonModel:
        def execute(self, requests):
            what = requests[0].inputs()[0].as_numpy()[0].decode()
            if what == "exit":
                os._exit(5)
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "segfault":
                ctypes.string_at(0)
            if what == "shout":
                print("x" * 10_000, *range(2_000), sep="\\n")
            if what == "child":
                import subprocess
                what = str(subprocess.Popen(["sleep", "1000"]).pid)
            return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", np.array([what or os.getpid()], np.object_))])]
"""
HANGING = (
    "class TritonPythonModel:\n    def initialize(self, args):\n        import threading; threading.Event().wait()"
)


def ask(step, what: str) -> str:
    return output_of(step.execute(request_of(what.encode(), datatype="BYTES")))[0].decode()


def wait_until_gone(pid: int, limit_s: float = 30.0) -> bool:
    """Wait for the end of any process; True once it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(limit_s * 1000))
    finally:
        os.close(descriptor)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rig(tmp_path, clock) -> Iterator[StepRig]:
    rig = StepRig("isolated", tmp_path, PythonBackend(clock))
    yield rig
    rig.close()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("exit", "step 'step': its worker process exited with code 5"),
        ("kill", "step 'step': its worker process exited with signal 9 (SIGKILL)"),
        ("segfault", "step 'step': its worker process exited with signal 11 (SIGSEGV)"),
    ],
)
def test_a_death_fails_the_request_and_the_next_one_is_served(rig, what, message):
    step = rig.load(FRAGILE, datatype="BYTES")

    with pytest.raises(InferenceFailed) as failure:
        ask(step, what)

    assert str(failure.value) == message
    assert ask(step, "again") == "again"


def test_a_worker_that_was_killed_while_idle_is_replaced_before_the_next_request(rig):
    step = rig.load(FRAGILE, datatype="BYTES")
    pid = int(ask(step, ""))
    os.kill(pid, signal.SIGKILL)
    assert wait_until_gone(pid)

    assert int(ask(step, "")) != pid


def test_repeated_deaths_make_restarts_wait(rig, clock):
    step = rig.load(FRAGILE, datatype="BYTES")
    for _ in range(2):
        with pytest.raises(InferenceFailed, match="exited with code 5"):
            ask(step, "exit")

    with pytest.raises(InferenceFailed, match=r"exited with code 5; it is started again in 0\.5 s"):
        ask(step, "hello")
    clock.advance(0.5)
    assert ask(step, "hello") == "hello"


def test_a_crash_while_loading_is_a_failed_load(rig):
    with pytest.raises(LoadFailed, match="its worker process exited with code 3 while it loaded"):
        rig.load("import os; os._exit(3)")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_who_is_killed_while_loading_is_lost_and_not_broken(rig, name):
    killed = "its worker process exited with signal \\d+ " + rf"\({name}\) while it loaded"
    with pytest.raises(EngineLost, match=killed):
        rig.load(f"import os, signal; os.kill(os.getpid(), signal.{name}); signal.pause()")


def test_a_fatal_signal_of_its_own_making_is_a_failed_load(rig):
    with pytest.raises(LoadFailed, match=r"\(SIGABRT\) while it loaded"):
        rig.load("import os; os.abort()")


def test_a_hang_while_loading_is_a_failed_load(tmp_path):
    rig = StepRig("isolated", tmp_path, PythonBackend(load_timeout_s=0.5))
    before = len(psutil.Process().children())

    with pytest.raises(LoadFailed, match=r"step 'step': initialize did not end within 0\.5 s"):
        rig.load(HANGING)
    rig.close()
    assert len(psutil.Process().children()) == before


def test_one_failing_instance_takes_the_others_with_it(rig):
    before = len(psutil.Process().children())

    with pytest.raises(LoadFailed):
        rig.load("import os; os._exit(3)", extra="instance_group [ { count: 3 } ]")
    assert len(psutil.Process().children()) == before


def test_a_step_that_cannot_be_started_again_says_so(rig, tmp_path):
    step = rig.load(FRAGILE, datatype="BYTES")
    (tmp_path / "step" / "1" / "model.py").write_text("raise OSError('gone')")

    with pytest.raises(InferenceFailed, match="exited with code 5"):
        ask(step, "exit")
    with pytest.raises(InferenceFailed, match="step 'step': OSError: gone"):
        ask(step, "hello")
    with pytest.raises(InferenceFailed, match="could not be started again; it is started again in"):
        ask(step, "hello")


def test_memory_of_the_workers_is_told(rig):
    one = rig.load(ECHO, name="one")
    two = rig.load(ECHO, name="two", extra="instance_group [ { count: 2 } ]")

    assert 5_000_000 < one.outside_bytes() < 200_000_000
    assert two.outside_bytes() > 1.3 * one.outside_bytes()
    one.close()
    assert one.outside_bytes() == 0


def test_children_of_a_step_end_with_it(rig):
    step = rig.load(FRAGILE, datatype="BYTES")
    child = int(ask(step, "child"))
    step.close()

    assert wait_until_gone(child)


def test_what_a_step_prints_is_logged_within_bounds(rig, caplog):
    caplog.set_level(logging.INFO)
    step = rig.load(FRAGILE, datatype="BYTES")
    ask(step, "shout")
    step.close()

    lines = [record.getMessage() for record in caplog.records if record.name.endswith("output_log")]
    assert len(lines) == 501
    assert max(map(len, lines)) < 4_200
    assert lines[-1].endswith("more lines were dropped")


PARENT = """
import os, sys
from pathlib import Path
from tests.unit.python_steps.step_folders import StepRig, request_of, output_of
rig = StepRig("isolated", Path(sys.argv[1]))
step = rig.load(Path(sys.argv[2]).read_text(), datatype="BYTES")
print(output_of(step.execute(request_of(b"", datatype="BYTES")))[0].decode(), flush=True)
sys.stdin.read()
"""


def test_workers_die_with_the_server_even_when_it_is_killed(tmp_path):
    code = tmp_path / "code.py"
    code.write_text(FRAGILE)
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "steps"), str(code)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as parent:
        worker = int(parent.stdout.readline())
        assert psutil.pid_exists(worker)
        parent.kill()

    assert wait_until_gone(worker)


@pytest.mark.slow
@pytest.mark.parametrize(("host", "cycles", "count"), [("in-process", 100, 1), ("isolated", 25, 4)])
def test_a_hundred_loads_leave_nothing_behind(tmp_path, host, cycles, count):
    backend = PythonBackend()
    extra = f"instance_group [ {{ count: {count} }} ]"

    def cycle(number: int) -> None:
        rig = StepRig(host, tmp_path / str(number), backend)
        step = rig.load(
            "import logic\n" + ECHO.replace("\n    ", "\n"),
            files={"logic.py": "X = 1"},
            extra=extra,
            callees=FakeCallees(),
        )
        assert output_of(step.execute(request_of(1))) == [1.0]
        step.close()

    def left_behind() -> tuple[int, int, set[str]]:
        return open_descriptors(), len(psutil.Process().children()), set(sys.modules)

    cycle(0)
    before = left_behind()
    for number in range(1, cycles):
        cycle(number)

    assert left_behind() == before
    backend.close()

"""Which program puts load on a server in closed loops: wrk where there is one, else the loop in Python.

`BENCHMARK_GENERATOR=python` or `=wrk` decides it. Results say which it was: on two cores a generator in Python takes
what the server would need, so that the two are not compared.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from benchmarks.load.closed_loop import Load, Outcome
from benchmarks.load.wrk import cpu_s, found

VARIABLE: Final = "BENCHMARK_GENERATOR"


class Generator(Protocol):
    """Runs closed loops."""

    @property
    def name(self) -> str:
        """As results tell it."""

    def put_together(self, loads: Sequence[Load]) -> list[Outcome]:
        """Run all at the same time. Raises RuntimeError where one ended without an outcome."""


@dataclass(frozen=True, slots=True)
class PythonLoops:
    """`closed_loop.py`, in a process for each load."""

    name: str = "closed_loop.py (Python, uvloop)"

    def put_together(self, loads: Sequence[Load]) -> list[Outcome]:
        """Run all at the same time. Raises RuntimeError where one ended without an outcome."""
        used = [cpu_s(load.pid) for load in loads]
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            running = []
            for index, load in enumerate(loads):
                file = Path(folder, f"{index}.json")
                file.write_text(json.dumps(asdict(load)))
                command = [sys.executable, "-m", "benchmarks.load.closed_loop", str(file)]
                process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                running.append(stack.enter_context(process))
            said = [process.communicate() for process in running]
        outcomes = []
        for process, load, before, (output, errors) in zip(running, loads, used, said, strict=True):
            if process.returncode:
                raise RuntimeError(f"a load generator failed: {errors.strip()[-500:]}")
            spent = cpu_s(load.pid) - before if load.pid else None
            outcomes.append(replace(Outcome(**json.loads(output)), server_cpu_s=spent))
        return outcomes


def chosen(environ: Mapping[str, str] = os.environ) -> Generator:
    """The one to use.

    Raises:
        RuntimeError: the variable names one that is not here, or is unknown.
    """
    wanted = environ.get(VARIABLE, "")
    if wanted not in {"", "wrk", "python"}:
        raise RuntimeError(f"{VARIABLE} is {wanted!r}; there are: wrk, python")
    wrk = None if wanted == "python" else found()
    if wrk is None and wanted == "wrk":
        raise RuntimeError("there is no wrk here: make wrk")
    return wrk or PythonLoops()

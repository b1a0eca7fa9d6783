"""Starts what is measured, in processes of its own, and stops it by process id."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.load.closed_loop import Load, Outcome

ROUNDHOUSE = Path(sys.executable).with_name("roundhouse")


@contextmanager
def serving(store: Path, *flags: str, log: Path | None = None) -> Iterator[int]:
    """A Roundhouse on a free loopback port; yields the port once it says it is ready. `log` gets what it logs."""
    command = [str(ROUNDHOUSE), "serve", "--store", str(store), "--host", "127.0.0.1", "--port", "0", *flags]
    with open(log or os.devnull, "wb") as errors:  # noqa: PTH123 - devnull is no path
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                yield int(found.group(1))
                return
        raise RuntimeError(f"{' '.join(command)} ended with {process.wait()} before it was ready")
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def put(load: Load) -> Outcome:
    """Run a closed loop in a process of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(asdict(load), file)
        file.flush()
        command = [sys.executable, "-m", "benchmarks.load.closed_loop", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Outcome(**json.loads(done.stdout))

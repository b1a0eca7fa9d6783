"""Starts a peer in a process of its own, and ends it by process id."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_READY = re.compile(r"ready on port (\d+)")


@contextmanager
def server_process(arguments: Sequence[str], python: str = sys.executable) -> Iterator[int]:
    """Run Python with `arguments`; yields the port once the process printed `ready on port N`.

    Raises:
        RuntimeError: it ended before that; names the end of what it said.
    """
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("wb") as errors:
        process = subprocess.Popen(
            [python, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if found := _READY.search(line):
                    yield int(found.group(1))
                    return
            said = Path(errors.name).read_text(errors="replace")[-1000:]
            raise RuntimeError(f"{' '.join(arguments)} ended with {process.wait()} before it was ready: {said}")
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

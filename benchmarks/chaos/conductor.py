"""What is done to the server, drawn from a seed: new, broken and missing content, deaths, bad weather, a full disk."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Final, Protocol

import psutil

from benchmarks.chaos.archives import BROKEN, Archive, broken, files_of, packed
from benchmarks.chaos.fault_proxy import WEATHERS, FaultProxy
from benchmarks.chaos.server import Server
from benchmarks.chaos.truth import Fault, Truth

PAUSE_S: Final = (0.1, 1.5)
"""Between two actions."""
LASTS_S: Final = (2.0, 6.0)
"""A broken upload, a deletion, bad weather, a full disk."""
RECOVERY_S: Final = 60.0
"""tritonserver is started again later and later, at most after 30 s; and then loads what is asked for."""
_CHUNK: Final = b"\0" * (1 << 16)


class Bucket(Protocol):
    """The store as its writers see it."""

    def put(self, name: str, content: bytes) -> None:
        """Write an object, whole or not at all."""
        ...

    def delete(self, name: str) -> None:
        """Remove it."""
        ...


@dataclass(slots=True)
class _Later:
    """Something that has to be made good again."""

    at: float
    what: Callable[[], None]


class Conductor:
    """Acts until told to stop; then makes everything good again."""

    def __init__(
        self,
        server: Server,
        bucket: Bucket,
        proxy: FaultProxy,
        archives: Sequence[Archive],
        truth: Truth,
        dice: random.Random,
        disk: Path | None,
    ) -> None:
        """`disk`: a small file system that may be filled, with the server's cache on it."""
        self._server = server
        self._bucket = bucket
        self._proxy = proxy
        self._archives = archives
        self._truth = truth
        self._dice = dice
        self._disk = disk
        self._version = dict.fromkeys((archive.name for archive in archives), -1)
        self._troubled: set[str] = set()
        self._weather: Fault | None = None
        self._later: list[_Later] = []
        self._deaths: list[Fault] = []
        self.did: Counter[str] = Counter()

    def put_all(self) -> None:
        """The next version of every archive, whole."""
        for archive in self._archives:
            self._put(archive)

    def version(self, archive: Archive) -> int:
        """The newest version."""
        return self._version[archive.name]

    def act_until(self, deadline: float, heard: Callable[[str], None]) -> None:
        """Act; `heard` is told what. Returns with everything made good."""
        actions: list[tuple[Callable[[], str], int]] = [
            (self._flip, 8),
            (self._break, 3),
            (self._delete, 1),
            (self._bad_weather, 3),
            (self._kill_engine, 1),
            (self._kill_step, 1),
            (self._fill_disk, 2),
            (self._unload, 2),
        ]
        while perf_counter() < deadline:
            sleep(self._dice.uniform(*PAUSE_S))
            self._server.look_below()
            self._recover(perf_counter())
            ((action, _),) = self._dice.choices(actions, [weight for _, weight in actions])
            if said := action():
                self.did[said.partition(":")[0]] += 1
                heard(said)
        self._recover(float("inf"))
        self.put_all()

    def await_health(self, timeout_s: float = RECOVERY_S) -> bool:
        """Whether the engine runs (again) in time."""
        deadline = perf_counter() + timeout_s
        while perf_counter() < deadline:
            self._end_deaths()
            if not self._deaths and self._server.is_well():
                return True
            sleep(0.2)
        return False

    def _recover(self, until: float) -> None:
        self._end_deaths()
        due = [each for each in self._later if each.at <= until]
        self._later = [each for each in self._later if each.at > until]
        for each in due:
            each.what()

    def _end_deaths(self) -> None:
        if self._deaths and self._server.is_well():
            for fault in self._deaths:
                fault.ended = perf_counter()
            self._deaths.clear()

    def _in_a_while(self, what: Callable[[], None]) -> None:
        self._later.append(_Later(perf_counter() + self._dice.uniform(*LASTS_S), what))

    def _healthy(self) -> Archive | None:
        healthy = [archive for archive in self._archives if archive.name not in self._troubled]
        return self._dice.choice(healthy) if healthy else None

    # Content

    def _put(self, archive: Archive) -> None:
        version = self._version[archive.name] = self._version[archive.name] + 1
        content = packed(files_of(archive, version))
        self._truth.uploading(archive, version, perf_counter())
        self._bucket.put(archive.name, content)

    def _flip(self) -> str:
        archive = self._healthy()
        if archive is None:
            return ""
        self._put(archive)
        return f"new version: {archive.name}"

    def _break(self) -> str:
        archive = self._healthy()
        if archive is None:
            return ""
        how = self._dice.choice(BROKEN)
        self._trouble(archive, "broken upload")
        self._version[archive.name] += 1  # a number of its own: it must never be answered
        self._bucket.put(archive.name, broken(archive, self._version[archive.name], how, self._dice))
        return f"broken upload: {archive.name}, {how}"

    def _delete(self) -> str:
        archive = self._healthy()
        if archive is None:
            return ""
        self._trouble(archive, "deleted")
        self._bucket.delete(archive.name)
        return f"deleted: {archive.name}"

    def _trouble(self, archive: Archive, kind: str) -> None:
        fault = self._truth.begin(kind, perf_counter(), archive.name)
        self._troubled.add(archive.name)

        def mend() -> None:
            self._put(archive)
            self._troubled.discard(archive.name)
            fault.ended = perf_counter()

        self._in_a_while(mend)

    # The world around it

    def _bad_weather(self) -> str:
        if self._weather is not None:
            return ""
        self._weather = self._truth.begin("S3", perf_counter())
        self._proxy.weather = self._dice.choice(WEATHERS)
        self._in_a_while(self._good_weather)
        return f"S3: {self._proxy.weather}"

    def _good_weather(self) -> None:
        assert self._weather is not None
        self._proxy.weather = "calm"
        self._weather.ended = perf_counter()
        self._weather = None

    def _fill_disk(self) -> str:
        if self._disk is None or (ballast := self._disk / "ballast").exists():
            return ""
        fault = self._truth.begin("disk full", perf_counter())
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(_CHUNK)

        def empty() -> None:
            ballast.unlink()
            fault.ended = perf_counter()

        self._in_a_while(empty)
        return "disk full: to the last block"

    # Deaths

    def _kill_engine(self) -> str:
        pid = None if self._deaths else self._server.engine_pid()
        if pid is None:
            return ""
        return self._kill(psutil.Process(pid), "engine killed")

    def _kill_step(self) -> str:
        engine = self._server.engine_pid()
        steps = [each for each in self._server.look_below() if each.pid != engine and _runs_a_step(each)]
        if self._deaths or not steps:
            return ""
        return self._kill(self._dice.choice(steps), "step's process killed")

    def _kill(self, process: psutil.Process, kind: str) -> str:
        self._server.look_below()
        fault = self._truth.begin(kind, perf_counter())
        with suppress(psutil.NoSuchProcess):
            process.kill()
        self._deaths.append(fault)
        return f"{kind}: {process.pid}"

    def _unload(self) -> str:
        archive: Any = self._healthy()
        if archive is None:
            return ""
        fault = self._truth.begin("unloaded", perf_counter(), archive.name)
        status, said = self._server.unload(archive.name)
        fault.ended = perf_counter()
        if status != 204:
            self._truth.failed(archive, status, f"on unloading: {said}", fault.began, fault.ended)
        return f"unloaded: {archive.name}"


def _runs_a_step(process: psutil.Process) -> bool:
    """Whether it is a Python step's: Triton's stub, or the embedded engine's worker."""
    with suppress(psutil.NoSuchProcess):
        return any(word in " ".join(process.cmdline()) for word in ("triton_python_backend_stub", "python_steps"))
    return False

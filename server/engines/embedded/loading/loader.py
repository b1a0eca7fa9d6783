"""Bringing one step into memory, and measuring what it took. Blocking: runs in worker threads.

A load that is measured has the process to itself (`load_turns.py`). One whose footprint is known needs no measuring: it
was measured before, or it lives in a process of its own, which tells what it takes.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.archive.model_config import backend_of, parameter, parse
from server.domain.clock import Clock, SystemClock
from server.domain.cold_start import LoadTimes
from server.domain.errors import DeviceFull, InvalidArchive, LoadFailed, RoundhouseError
from server.domain.model import CPU, Device, FileSha, Footprint, Step, StepDigest
from server.engines.embedded.answers.remembered_answers import RememberedAnswers
from server.engines.embedded.config.devices import Hardware, place
from server.engines.embedded.config.features import require_supported
from server.engines.embedded.loaded_step import Backend, LazyBackend
from server.engines.embedded.loading.warmup import warm_up
from server.engines.embedded.memory import footprint, host_memory
from server.engines.embedded.memory.known_footprints import KnownFootprints
from server.engines.embedded.memory.load_peak import LoadPeaks
from server.engines.embedded.memory.mapped_files import mapped
from server.engines.embedded.memory.sight import Overhead
from server.engines.embedded.resident import Callees, Resident
from server.engines.embedded.running.instances import Instances, executions_at_once
from server.engines.process_memory import mapped_below

_CONFIG: Final = "config.pbtxt"


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is to be loaded, where, and what it will be charged with if that is known."""

    step: Step
    config: ModelConfig
    backend: str
    device: Device
    known_bytes: int | None
    """Host memory in this process, where no measurement is needed."""

    @property
    def is_warmed_up_later(self) -> bool:
        """Whether its warm-up has shown before that it works, and need not hold up who waits for the step."""
        is_proven = self.known_bytes is not None and self.backend == "onnxruntime" and self.device == CPU
        return is_proven and not self.config.response_cache.enable  # which would keep the answers

    @property
    def holds_interpreter(self) -> bool:
        """Whether the load runs code in this process that other threads of Python may have to wait for."""
        return self.backend == "python" and parameter(self.config, "EXECUTION") == "in-process"


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads steps with the backends that are here. `activity` counts requests: begun so far, running now."""

    backends: Mapping[str, Backend]
    hardware: Hardware
    residents: Mapping[StepDigest, Resident]
    activity: Callable[[], tuple[int, int]]
    answers: RememberedAnswers | None = None
    peaks: LoadPeaks = field(default_factory=LoadPeaks)
    known: KnownFootprints = field(default_factory=KnownFootprints)
    clock: Clock = field(default_factory=SystemClock)
    overhead: Overhead = field(default_factory=Overhead)

    def plan(self, step: Step) -> LoadPlan:
        """Read the config. Raises LoadFailed, UnsupportedModel, InvalidArchive."""
        with _failing(step):
            config = read_config(step)
            require_supported(config, self.backends)
            backend = backend_of(config)
            device = place(config, backend, self.hardware)
            is_first = isinstance(self.backends[backend], LazyBackend) and not self.overhead.has_imported(backend)
            known = None if is_first else self.known.of(step, config)  # an import is measured too
            return LoadPlan(step, config, backend, device, known)

    def load(self, plan: LoadPlan) -> tuple[Resident, Footprint]:
        """Load and warm up; and measure, if the footprint is not known: then nothing else may load or unload meanwhile.

        Raises:
            LoadFailed, UnsupportedModel, InvalidArchive, DeviceFull: nothing of it stays in memory.
        """
        began = self.clock.now()
        with _failing(plan.step):
            try:
                if isinstance(maker := self.backends[plan.backend], LazyBackend):
                    with self.overhead.importing(plan.backend):
                        maker.prepare()
                measured = self._measured if plan.known_bytes is None else self._known
                resident, charged, warm_up_s = measured(plan)
            finally:
                host_memory.release_free_memory()
        if plan.device != CPU:  # the driver tells only what all processes use together: the prediction stands
            charged[plan.device] = self._expected(plan).on(plan.device)
        times = LoadTimes(self.clock.now() - began, warm_up_s)
        return resident, Footprint(charged, times, mapped=mapped(plan.step, charged[CPU], self._moved()))

    def _moved(self) -> set[FileSha]:
        """Files that residency believes to be mapped for a step whose packed weights are somewhere else by now."""
        moved = [resident.step for resident in list(self.residents.values()) if resident.has_moved]
        return {file.digest for step in moved for file in step.weights}

    def _known(self, plan: LoadPlan) -> tuple[Resident, dict[Device, int], float]:
        with self.peaks.during(plan.step):
            resident, warm_up_s = self._make(plan)
        return resident, {CPU: (plan.known_bytes or 0) + resident.outside_bytes()}, warm_up_s

    def _measured(self, plan: LoadPlan) -> tuple[Resident, dict[Device, int], float]:
        step = plan.step
        with self.peaks.during(step) as peak:
            host_memory.release_free_memory()
            activity, before = self.activity(), host_memory.anonymous_bytes()
            peak.begin()  # after the line above, which counts exactly: to ask for the peak leaves free pages behind
            resident, warm_up_s = self._make(plan)
            try:
                resident.settle()
                host_memory.release_free_memory()
                gained = host_memory.anonymous_bytes() - before + mapped_below(resident.folders)
                gained += resident.outside_bytes()
            except BaseException:
                resident.close()
                raise
            is_disturbed = activity[1] > 0 or self.activity() != activity
            expected = self._expected(plan).on(CPU)
            amount = footprint.measured(step, gained, expected, is_disturbed=is_disturbed) + resident.reserve_bytes
            if not is_disturbed and not resident.outside_bytes():
                self.known.remember(step, plan.config, amount)
            peak.charged(amount)
        return resident, {CPU: amount}, warm_up_s

    def _make(self, plan: LoadPlan) -> tuple[Resident, float]:
        """The step, warmed up; and the seconds which that took."""
        step, config = plan.step, plan.config
        with host_memory.weights_apart():
            loaded = self.backends[plan.backend].load(step, config, Callees(step, self.residents))
        try:
            resident = Resident(step, config, loaded, Instances(self._count(step, config, plan.device)), plan.device)
            warm_up_s = 0.0
            if config.model_warmup and not plan.is_warmed_up_later:
                began = self.clock.now()
                warm_up(resident, config, step.directory)
                warm_up_s = self.clock.now() - began
            if self.answers is not None and config.response_cache.enable:
                resident.remember(self.answers)  # only now: nobody asks for what warms it up
        except BaseException:
            loaded.close()
            raise
        return resident, warm_up_s

    def _expected(self, plan: LoadPlan) -> Footprint:
        return footprint.predicted(plan.step, plan.config, plan.device)

    def _count(self, step: Step, config: ModelConfig, device: Device) -> int:
        """Instances; of an ensemble as many as could keep all its steps busy at once."""
        if backend_of(config) != "ensemble":
            return executions_at_once(config, device)
        callees = {digest for digest in step.calls.values() if digest in self.residents}
        return max(1, sum(self.residents[digest].concurrency for digest in callees))


def read_config(step: Step) -> ModelConfig:
    """The step's config, under the name that the archive gives it. Raises InvalidArchive."""
    try:
        config = ModelConfig.FromString(_read(step.directory))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArchive(f"model {step.name!r} has no readable {_CONFIG}") from error
    config.name = step.name
    return config


@lru_cache(maxsize=1024)
def _read(directory: Path) -> bytes:
    """A staged config never changes, and to read this takes no time. Raises OSError."""
    config = parse(Path(directory, _CONFIG).read_text(encoding="utf-8"))
    serialized: bytes = config.SerializeToString()
    return serialized


@contextmanager
def _failing(step: Step) -> Iterator[None]:
    """Whatever a load raises -> our tree."""
    try:
        yield
    except RoundhouseError as error:
        _forget_frames(error)
        raise
    except MemoryError as error:
        _forget_frames(error)
        raise DeviceFull(step.name, CPU, said=f"{type(error).__name__}: {error}".rstrip(": ")) from error
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # a model may call sys.exit
        _forget_frames(error)
        raise LoadFailed(f"model {step.name!r} failed to load: {type(error).__name__}: {error}") from error


def _forget_frames(error: BaseException | None) -> None:
    """Drop what the failed calls still hold: failures are remembered, and half-made sessions must not be."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__

"""Bringing one step into memory, and measuring what it took. Blocking: runs in a worker thread, one step at a time."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.archive.model_config import backend_of, parse
from server.domain.errors import DeviceFull, InvalidArchive, LoadFailed, RoundhouseError
from server.domain.model import CPU, Footprint, Step, StepDigest
from server.engines.embedded import footprint, memory
from server.engines.embedded.devices import Hardware, place
from server.engines.embedded.features import require_supported
from server.engines.embedded.instances import Instances, count_instances
from server.engines.embedded.load_peak import LoadPeaks, Peak
from server.engines.embedded.loaded_step import Backend, LazyBackend
from server.engines.embedded.remembered_answers import RememberedAnswers
from server.engines.embedded.resident import Callees, Resident
from server.engines.embedded.warmup import warm_up

_CONFIG: Final = "config.pbtxt"


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads steps with the backends that are here. `activity` counts requests: begun so far, running now."""

    backends: Mapping[str, Backend]
    hardware: Hardware
    residents: Mapping[StepDigest, Resident]
    activity: Callable[[], tuple[int, int]]
    answers: RememberedAnswers | None = None
    peaks: LoadPeaks = field(default_factory=LoadPeaks)

    def load(self, step: Step) -> tuple[Resident, Footprint]:
        """Load, warm up and measure `step`.

        Raises:
            LoadFailed, UnsupportedModel, InvalidArchive, DeviceFull: nothing of it stays in memory.
        """
        try:
            with self.peaks.during(step) as peak:
                return self._load(step, peak)
        except RoundhouseError as error:
            _forget_frames(error)
            raise
        except MemoryError as error:
            _forget_frames(error)
            raise DeviceFull(step.name, CPU, said=f"{type(error).__name__}: {error}".rstrip(": ")) from error
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # a model may call sys.exit
            _forget_frames(error)
            raise LoadFailed(f"model {step.name!r} failed to load: {type(error).__name__}: {error}") from error
        finally:
            memory.release_free_memory()

    def _load(self, step: Step, peak: Peak) -> tuple[Resident, Footprint]:
        config = read_config(step)
        require_supported(config, self.backends)
        backend = backend_of(config)
        device = place(config, backend, self.hardware)
        expected = footprint.predicted(step, config, device)
        if isinstance(maker := self.backends[backend], LazyBackend):
            maker.prepare()
        memory.release_free_memory()
        activity, before = self.activity(), memory.anonymous_bytes()
        peak.begin()  # after the line above, which counts exactly: to ask for the peak leaves a few free pages behind
        callees = Callees(step, self.residents)
        with memory.weights_apart():
            loaded = maker.load(step, config, callees)
        try:
            instances = Instances(self._count(step, config))
            resident = Resident(step, config, loaded, instances, device)
            warm_up(resident, config, step.directory)
            if self.answers is not None and config.response_cache.enable:
                resident.remember(self.answers)  # only now: nobody asks for what warms it up
            memory.release_free_memory()
            gained = memory.anonymous_bytes() - before + memory.map_in(step.directory) + loaded.outside_bytes()
        except BaseException:
            loaded.close()
            raise
        is_disturbed = activity[1] > 0 or self.activity() != activity
        charged = {CPU: footprint.measured(step, gained, expected.on(CPU), is_disturbed=is_disturbed)}
        peak.charged(charged[CPU])
        if device != CPU:  # the driver tells only what all processes use together: the prediction stands
            charged[device] = expected.on(device)
        return resident, Footprint(charged)

    def _count(self, step: Step, config: ModelConfig) -> int:
        """Instances; of an ensemble as many as could keep all its steps busy at once."""
        if backend_of(config) != "ensemble":
            return count_instances(config)
        callees = {digest for digest in step.calls.values() if digest in self.residents}
        return max(1, sum(self.residents[digest].concurrency for digest in callees))


def read_config(step: Step) -> ModelConfig:
    """The step's config, under the name that the archive gives it. Raises InvalidArchive."""
    try:
        config = parse(Path(step.directory, _CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArchive(f"model {step.name!r} has no readable {_CONFIG}") from error
    config.name = step.name
    return config


def _forget_frames(error: BaseException | None) -> None:
    """Drop what the failed calls still hold: failures are remembered, and half-made sessions must not be."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__

"""One run of tritonserver with everything that lives and dies with it: process, clients, repository."""

import asyncio
import itertools
import shutil
from collections.abc import Mapping
from typing import Final

from server.domain.clock import Clock
from server.domain.errors import EngineLost
from server.engines.process_memory import own_bytes
from server.engines.triton.options import TritonOptions
from server.engines.triton.process.discovery import Installation
from server.engines.triton.process.flags import ServerFlags
from server.engines.triton.process.log_tail import LogTail
from server.engines.triton.process.ports import choose
from server.engines.triton.process.runtime_folder import RuntimeFolder
from server.engines.triton.process.server_process import ServerProcess
from server.engines.triton.repository import backend_folder
from server.engines.triton.repository.staged import StagedRepository
from server.engines.triton.wire.grpc_client import GrpcClient
from server.engines.triton.wire.http_client import HttpClient

_READY_POLL_S: Final = 0.02
_LINES_TOLD: Final = 15
_WEDGED_STOP_S: Final = 1.5


class ServerRun:
    """A tritonserver that is up, and how to speak to it."""

    def __init__(
        self, process: ServerProcess, http: HttpClient, grpc: GrpcClient, repository: StagedRepository, stop_s: float
    ) -> None:
        self._process = process
        self._stop_s = stop_s
        self.http = http
        self.grpc = grpc
        self.repository = repository
        self.http_port = 0
        self.version = ""
        self.empty_bytes = 0
        """What the process took when it was up and no step was in it."""
        self.is_wedged = False
        """Whether it holds a model that it can never unload, and so cannot end in peace."""

    @property
    def pid(self) -> int:
        """Process id of tritonserver."""
        return self._process.pid

    @property
    def log(self) -> LogTail:
        """Its last log lines."""
        return self._process.tail

    async def wait(self) -> int:
        """Wait for its end; returns the exit status."""
        return await self._process.wait()

    async def wait_ready(self, clock: Clock, timeout_s: float) -> None:
        """Wait until it answers. Raises EngineLost with its last words if it ends, or takes longer."""
        deadline = clock.now() + timeout_s
        while not await self.http.is_ready():
            if not self._process.is_running:
                await self._process.clean()
                raise EngineLost(f"tritonserver ended while it started:\n{self.log.last(_LINES_TOLD)}")
            if clock.now() > deadline:
                raise EngineLost(f"tritonserver was not ready within {timeout_s:g} s:\n{self.log.last(_LINES_TOLD)}")
            await asyncio.sleep(_READY_POLL_S)
        self.version = await self.http.version()
        self.empty_bytes = await asyncio.to_thread(own_bytes, self.pid)

    def kill(self) -> None:
        """Kill it, as if it had died by itself."""
        self._process.kill()

    async def stop(self) -> None:
        """End it, and free everything that belongs to it. Idempotent; also called after it died."""
        self.http.close()
        await self.grpc.close()
        await self._process.stop(min(self._stop_s, _WEDGED_STOP_S) if self.is_wedged else self._stop_s)
        await asyncio.to_thread(shutil.rmtree, self.repository.folder.parent, ignore_errors=True)


class Launcher:
    """Starts runs of one installation, each with ports and a folder of its own."""

    def __init__(
        self,
        installation: Installation,
        options: TritonOptions,
        extra: Mapping[str, tuple[str, ...]],
        environment: Mapping[str, str],
        clock: Clock,
    ) -> None:
        self._installation = installation
        self._options = options
        self._extra = extra
        self._environment = installation.environment(environment)
        self._clock = clock
        self._numbers = itertools.count(1)
        self._folder: RuntimeFolder | None = None
        self.emulated = tuple(backend_folder.missing_backends(installation))

    def use_folder(self, folder: RuntimeFolder) -> None:
        """Where runs keep their files. Must be called before the first launch."""
        self._folder = folder

    async def launch(self) -> ServerRun:
        """Start a run and wait until it is ready. Raises EngineLost with tritonserver's last words."""
        assert self._folder is not None, "use_folder was not called. This is a bug."
        number = next(self._numbers)
        root = self._folder.path / f"run-{number}"
        caches = self._installation.caches if self._options.response_cache_bytes else None
        repository = StagedRepository(
            root, self.emulated, has_response_cache=caches is not None or "cache-config" in self._extra
        )
        backends = backend_folder.build(self._installation, root / "backends")
        (root / "empty").mkdir()
        ports = choose(self._options)
        flags = ServerFlags(
            repository=repository.folder,
            backends=backends,
            http_port=ports.http,
            grpc_port=ports.grpc,
            grpc_address=ports.grpc_address,
            grpc_secret=ports.secret,
            shm_prefix=f"{self._folder.shm_prefix}{number}_",
            shm_default_bytes=self._options.shm_default_bytes,
            shm_growth_bytes=self._options.shm_growth_bytes,
            load_threads=self._options.load_threads,
            http_threads=self._options.http_threads,
            exit_timeout_s=max(1, int(self._options.stop_timeout_s) - 1),
            caches=caches,
            response_cache_bytes=self._options.response_cache_bytes,
            extra=self._extra,
        )
        argv = (str(self._installation.server), *flags.argv())
        tail = LogTail(self._options.log_lines)
        process = await ServerProcess.start(argv, self._environment, root / "empty", flags.shm_prefix, tail)
        clients = HttpClient(ports.http, self._options.connections), GrpcClient(ports.grpc_target, ports.secret)
        run = ServerRun(process, *clients, repository, self._options.stop_timeout_s)
        run.http_port = ports.http
        try:
            await run.wait_ready(self._clock, self._options.start_timeout_s)
        except BaseException:
            await run.stop()
            raise
        return run

"""A store with its cache, an engine, and residency between them, all real."""

from pathlib import Path

import numpy as np

from server.domain.clock import SystemClock
from server.domain.inference import InferenceRequest, Tensor
from server.domain.model import CPU
from server.engines.embedded.engine import EmbeddedEngine
from server.residency.options import ResidencyOptions
from server.residency.residency import Residency
from server.store.disk.cache import DiskCache
from server.store.local import LocalFolder
from server.store.registered import RegisteredFolders
from server.store.resolve import ArchiveStore
from server.store.threads import StoreThreads
from tests.unit.store.store_archives import complete_nothing


class WholeHouse:
    """Archives come from `origin`; where there is none, from `folder`."""

    def __init__(self, root: Path, budget_bytes: int, quota_bytes: int | None = None, origin=None, *, sharing=True):
        clock, threads = SystemClock(), StoreThreads(4, 4)
        self.folder = root / "store"
        self.folder.mkdir(exist_ok=True)
        self.cache = DiskCache(root / "cache", quota_bytes, clock, sharing=sharing)
        source = origin or LocalFolder(self.folder, threads)
        registered = RegisteredFolders()
        self.store = ArchiveStore(source, registered, self.cache, threads, clock, complete_nothing, sharing=sharing)
        self.engine = EmbeddedEngine(threads=1)
        options = ResidencyOptions(churn_guard_s=0.0)
        self.residency = Residency(self.engine, self.store, {CPU: budget_bytes}, clock, options)
        self.store.share_disk_with(self.residency.disk)

    async def start(self) -> None:
        await self.store.start()
        await self.engine.start(lambda _: None)

    async def stop(self) -> None:
        await self.residency.close()
        await self.engine.stop()
        await self.store.close()

    async def answer(self, name: str, inputs: np.ndarray, timeout_s: float = 30.0) -> np.ndarray:
        """What the archive makes of its one FP32 input."""
        with await self.residency.lease(name, timeout_s) as lease:
            (spec,) = lease.archive.signature.inputs
            request = InferenceRequest({spec.name: Tensor(spec.name, "FP32", inputs)})
            answer = await self.engine.infer(lease.archive.entry, request)
        return answer.outputs[0].data

    def charged(self) -> int:
        """Bytes that residency charges to the host."""
        return self.residency.snapshot()["devices"][CPU]["charged_bytes"]

"""How many executions of a step may run side by side: the sum of its instance groups, first come, first served.

Coroutines and worker threads stand in one line. Whoever holds an instance has a thread of its own to run on, and the
call graph has no cycles: so a holder never waits for somebody who waits for it.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup

from server.archive.model_config import backend_of
from server.domain.model import CPU, Device

_ONNX_CPU_DEFAULT: Final = 2  # Triton's default for ONNX on CPU; every other backend and device gets 1


def count_instances(config: ModelConfig) -> int:
    """The number of instances that `config` asks for, by Triton's defaults where it does not say."""
    if not config.instance_group:
        return _default_count(config, ModelInstanceGroup.KIND_AUTO)
    return sum(
        (group.count or _default_count(config, group.kind)) * max(1, len(group.gpus)) for group in config.instance_group
    )


def executions_at_once(config: ModelConfig, device: Device) -> int:
    """How many executions of a loaded step may run side by side: at least its instances.

    Threads share an ONNX session, and its weights: on the CPU an instance more costs nothing, and with fewer of them
    than may run at once (`onnx_step.Turns`) a step that everybody waits for leaves cores idle.
    """
    count = count_instances(config)
    if backend_of(config) == "onnxruntime" and device == CPU:
        return max(count, len(os.sched_getaffinity(0)) + 1)
    return count


def _default_count(config: ModelConfig, kind: int) -> int:
    is_onnx = backend_of(config) == "onnxruntime"
    return _ONNX_CPU_DEFAULT if is_onnx and kind in {ModelInstanceGroup.KIND_AUTO, ModelInstanceGroup.KIND_CPU} else 1


class Instances:
    """The free instances of one step."""

    def __init__(self, count: int) -> None:
        self.count: Final = count
        self._free = count
        self._line: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()

    @property
    def in_use(self) -> int:
        """Executions that run right now."""
        return self.count - self._free

    def take_now(self) -> bool:
        """Take an instance if one is free and nobody waits."""
        with self._lock:
            if not self._free:
                return False
            self._free -= 1
            return True

    def take(self) -> None:
        """Take an instance; a worker thread waits for it."""
        if self.take_now():
            return
        granted = threading.Lock()
        granted.acquire()
        if not self._take_or_queue(granted.release):
            granted.acquire()

    async def take_async(self) -> None:
        """Take an instance; a coroutine waits for it, and leaves the line when it is cancelled."""
        loop = asyncio.get_running_loop()
        granted = loop.create_future()
        wake = partial(loop.call_soon_threadsafe, _grant, granted)
        if self._take_or_queue(wake):
            return
        try:
            await granted
        except asyncio.CancelledError:
            self._leave(wake)
            raise

    def when_free(self, granted: Callable[[], object]) -> None:
        """Call `granted` once it has an instance: now, or from the thread that gives one back. It must be quick."""
        if self._take_or_queue(granted):
            granted()

    def give(self) -> None:
        """Hand an instance to the next in line, or keep it as free."""
        with self._lock:
            if not self._line:
                self._free += 1
                return
            wake = self._line.popleft()
        wake()

    def _take_or_queue(self, wake: Callable[[], object]) -> bool:
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            self._line.append(wake)
            return False

    def _leave(self, wake: Callable[[], object]) -> None:
        with self._lock:
            if wake in self._line:
                self._line.remove(wake)
                return
        self.give()  # it was granted in the same moment


def _grant(granted: "asyncio.Future[None]") -> None:
    if not granted.done():
        granted.set_result(None)

"""Sessions over weights that are packed in files: one with all threads and one with one, for little more than one.

ONNX Runtime rearranges ("packs") the matrices of a graph for the processor it runs on, into memory of the session's
own: of MiniLM's 92 MB that is 42. A second session of the same graph would take them again. But the runtime can write
what it packed, with the optimised graph, and sessions made from there map it (measured, MiniLM: 1.5 MB of its own each,
and the same 90 MB of files for all). A session still packs when it is made, compares, and drops its own copy where the
file's is equal: so files of another processor are safe, and of no use.

Where the processor has tiles for bfloat16 (AMX), matrix products are replaced by split ones, which ONNX Runtime does
not have (`split_products/`): their weights are written as the tiles want them, need no packing, and are mapped as they
are.

The files are made by a process of its own (`onnx_packer.py`), which proves them before anybody else maps them.
"""

import hashlib
import os
import pickle
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import onnxruntime as ort
from tritonclient.grpc.model_config_pb2 import ModelConfig

import server
from server.domain.errors import LoadFailed
from server.domain.model import CPU, Device, Step
from server.engines.embedded.backends.onnx_options import session_options
from server.engines.embedded.backends.packed_files import WEIGHTS, PackedFiles
from server.engines.embedded.split_products.split_graph import split_products

LEAST_BYTES: Final = 16 << 20
"""Smaller steps gain little: their runs do not divide well, and what is kept for a second session would be a tenth of
what they are charged with."""
_GRAPH_FACTOR: Final = 24
"""A session's own memory for each byte of its graph without weights: 20 were seen (MiniLM, SAM, MobileNet, UNet)."""
_MOST_OWN_BYTES: Final = 1 << 20
_MOST_OWN_SHARE: Final = 0.04
"""Of the step's files, where the graph has its weights inside and so does not tell how large it is."""
_FILE_FACTOR: Final = 1.7
"""Of an entry, to a step's files: unpacked weights and packed ones. 1.3 to 1.8 were seen."""
_PACKER: Final = "server.engines.embedded.backends.onnx_packer"
_PATIENCE_S: Final = 300.0
_SPIN_US: Final = "1000"
"""Long enough to be awake for the next of a caller who asks one by one: 5 % more of these a second than where threads
sleep at the end of a run, 20 % more than with 50. And not longer: others want the cores, too. With 3000, DALI decoded
the next photo 9 % later."""
_PINNED: Final = frozenset({"intra_op_thread_count", "inter_op_thread_count", "execution_mode", "enable_mem_arena"})
_CPU_FACTS: Final = re.compile(r"^(?:vendor_id|cpu family|model|model name|flags|Features)\s*:.*$", re.MULTILINE)
_IMPORT_ROOT: Final = str(Path(server.__file__).resolve().parents[1])


@dataclass(frozen=True, slots=True)
class Sample:
    """What a run was asked: to prove with."""

    names: tuple[str, ...]
    """The outputs."""
    feed: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What `onnx_packer` is to do."""

    source: str
    graph: str
    """Where the packed graph goes."""
    config: bytes
    threads: int
    sample: Sample
    split_library: Path | None
    """Where the operators for split matrix products are; None: products stay as they are."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the sessions of one step are made from packed weights."""

    files: PackedFiles
    key: str
    source: Path
    config: ModelConfig
    threads: int
    """Of the wide session."""
    file_bytes: int
    split_library: Path | None
    """Where the operators for split matrix products are (`split_products/`); None: products stay as they are."""

    @property
    def own_bytes(self) -> int:
        """What a second session may take beside the mapped files."""
        graph = self.source.stat().st_size
        return min(_GRAPH_FACTOR * graph, max(_MOST_OWN_BYTES, int(self.file_bytes * _MOST_OWN_SHARE)))

    def find(self) -> Path | None:
        """The packed graph, if it was made before."""
        return self.files.find(self.key)

    def make(self, sample: Sample) -> Path | None:
        """The packed graph, made and proven now; None where there is no room for it. Takes seconds.

        Raises:
            LoadFailed: the runtime cannot, or computes something else from packed weights.
            OSError: the disk says no.
        """
        return self.files.make(self.key, int(self.file_bytes * _FILE_FACTOR), partial(self._write, sample))

    def discard(self) -> None:
        """Forget what was made."""
        self.files.discard(self.key)

    def wide(self, graph: Path) -> ort.InferenceSession:
        """All threads: for an execution that has the processor to itself."""
        return wide_session(self.config, self.threads, graph, self.split_library)

    def narrow(self, graph: Path) -> ort.InferenceSession:
        """One thread, the caller's: for executions side by side."""
        return narrow_session(self.config, graph, self.split_library)

    def _write(self, sample: Sample, graph: Path) -> None:
        config = self.config.SerializeToString()
        order = Order(str(self.source), str(graph), config, self.threads, sample, self.split_library)
        paths = [_IMPORT_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", _PACKER],
                input=pickle.dumps(order),
                capture_output=True,
                timeout=_PATIENCE_S,
                env=dict(os.environ, PYTHONPATH=os.pathsep.join(paths)),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LoadFailed(f"packing did not end within {_PATIENCE_S:g} s") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise LoadFailed(said or f"packing ended with {done.returncode}")


def recipe(
    step: Step,
    config: ModelConfig,
    source: Path,
    device: Device,
    threads: int,
    files: PackedFiles | None,
    split_library: Path | None = None,
) -> Recipe | None:
    """How to pack a step; None where that gains nothing, or its config says how its one session is to be."""
    if files is None or not files.quota_bytes or device != CPU or threads < 2 or step.file_bytes < LEAST_BYTES:
        return None
    if config.optimization.execution_accelerators.cpu_execution_accelerator:
        return None
    if any(key in _PINNED or key.startswith("session.") for key in config.parameters):
        return None
    level = config.optimization.graph.level
    told = f"{step.digest} {source.name} {level} {ort.__version__} {_digest(split_library)} {_processor()}"
    key = hashlib.sha256(told.encode()).hexdigest()[:40]
    return Recipe(files, key, source, config, threads, step.file_bytes, split_library)


def write_packed(source: Path, config: ModelConfig, graph: Path) -> None:
    """Write the optimised graph, and its weights beside it as they are and as this processor wants them."""
    options = _writing(config, graph)
    options.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
    _session(source, options)


def write_split(source: Path, config: ModelConfig, graph: Path) -> int:
    """Write the optimised graph with split matrix products. Returns how many; of none, nothing is written."""
    with TemporaryDirectory(dir=graph.parent) as folder:
        optimised = Path(folder) / graph.name
        _session(source, _writing(config, optimised))
        return split_products(optimised, graph, WEIGHTS)


def _writing(config: ModelConfig, graph: Path) -> ort.SessionOptions:
    options = session_options(config, 1)
    options.optimized_model_filepath = str(graph)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", WEIGHTS)
    return options


def wide_session(
    config: ModelConfig, threads: int, graph: Path, split_library: Path | None = None
) -> ort.InferenceSession:
    """A session over packed weights with `threads` threads, which spin for a moment before they sleep.

    And they take work in smaller and smaller blocks: who is through first takes more. Of MiniLM both together are 10 %
    of an execution (one text of 12 to 60 tokens, 2 cores).
    """
    options = _options(config, threads, split_library, spins=True)
    options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
    options.add_session_config_entry("session.dynamic_block_base", "2")
    return _session(graph, options)


def narrow_session(config: ModelConfig, graph: Path, split_library: Path | None = None) -> ort.InferenceSession:
    """A session over packed weights that runs on its caller's thread."""
    return _session(graph, _options(config, 1, split_library))


def _options(
    config: ModelConfig, threads: int, split_library: Path | None, *, spins: bool = False
) -> ort.SessionOptions:
    options = session_options(config, threads, spins=spins)
    if split_library is not None:
        options.register_custom_ops_library(str(split_library))
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # it was optimised when written
    return options


def _session(path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=4)
def _digest(library: Path | None) -> str:
    """Another library may want another layout."""
    return hashlib.sha256(library.read_bytes()).hexdigest() if library is not None else ""


@lru_cache(maxsize=1)
def _processor() -> str:
    """What the packed form depends on, and more."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            first = "".join(iter(file.readline, "\n"))
    except OSError:
        return platform.processor() or os.uname().machine
    return "\n".join(_CPU_FACTS.findall(first))

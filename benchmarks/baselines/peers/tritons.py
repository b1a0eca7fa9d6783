"""Triton as a peer, in three ways: the walk-through's ensemble, its SageMaker endpoint, and one hand-tuned model."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.baselines.bare_triton import TRITON
from benchmarks.baselines.own_triton import own_triton
from benchmarks.baselines.peers import apps, embedding
from benchmarks.baselines.peers.archive import unpacked
from benchmarks.baselines.peers.embedding import WORKERS
from benchmarks.baselines.peers.peer import Address, Files

_THREE_STEP: Final = "minilm-three-step"
_SINGLE: Final = "minilm-single"


def missing() -> str:
    """Why there is none here, or ""."""
    return "" if TRITON.is_dir() else "no .triton here: make triton"


@contextmanager
def three_step(files: Files) -> Iterator[Address]:  # noqa: ARG001 - its archive has the same graph without the pooling
    """The walk-through's ensemble: tokenise and pool in Python steps around the encoder."""
    with unpacked(_THREE_STEP) as folder, own_triton(folder, _THREE_STEP) as triton:
        yield Address(triton.http_port, f"/v2/models/{_THREE_STEP}/infer", pid=triton.pid)


@contextmanager
def sagemaker(files: Files) -> Iterator[Address]:  # noqa: ARG001 - as above
    """The same ensemble behind Triton's own SageMaker endpoint."""
    with unpacked(_THREE_STEP) as folder, own_triton(folder, _THREE_STEP) as triton:
        yield Address(triton.sagemaker_port, "/invocations", pid=triton.pid)


@contextmanager
def single(files: Files) -> Iterator[Address]:
    """One Python model that does everything: an instance per core, one thread each, so that nothing is handed over."""
    with tempfile.TemporaryDirectory() as folder:
        _write_single(Path(folder, _SINGLE), files)
        with own_triton(Path(folder), _SINGLE) as triton:
            yield Address(triton.http_port, f"/v2/models/{_SINGLE}/infer", pid=triton.pid)


def _write_single(folder: Path, files: Files) -> None:
    version = folder / "1"
    version.mkdir(parents=True)
    shutil.copy(Path(str(apps.__file__)).with_name("triton_model.py"), version / "model.py")
    shutil.copy(str(embedding.__file__), version / "embedding.py")
    told = "".join(
        f'parameters {{ key: "{name}" value {{ string_value: "{file.resolve()}" }} }}\n'
        for name, file in (("graph", files.graph), ("tokenizer", files.tokenizer))
    )
    (folder / "config.pbtxt").write_text(
        f'name: "{_SINGLE}"\nbackend: "python"\nmax_batch_size: 64\n'
        'input { name: "INPUT0" data_type: TYPE_STRING dims: 1 }\n'
        'output { name: "OUTPUT0" data_type: TYPE_FP32 dims: 384 }\n'
        f"instance_group {{ count: {WORKERS} kind: KIND_CPU }}\n{told}"
    )

"""What the black-box store holds, by archive name. Archives are made as users make them: with tar."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias

from tests.blackbox import steps
from tests.fakes.repositories import (
    echo_pipeline,
    linear_pipeline,
    onnx_identity,
    onnx_linear,
    python_echo,
)

Build: TypeAlias = Callable[[Path], Path]
"""Fills an archive's root folder."""

LABELS: Final = ("red", "green", "blue")
TOO_LARGE_BYTES: Final = 1 << 50


def one(build: Callable[[Path], Path], name: str = "step") -> Build:
    """An archive with one model folder."""

    def write(root: Path) -> Path:
        build(root / name)
        return root

    return write


def labelled(root: Path) -> Path:
    """OUTPUT0 is ranked by red, green and blue."""
    entry = 'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]'
    folder = onnx_linear(root / "labelled", outputs=3)
    config = (folder / "config.pbtxt").read_text().splitlines()
    (folder / "config.pbtxt").write_text("\n".join(entry if line.startswith("output") else line for line in config))
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return root


def too_large(root: Path) -> Path:
    """A small archive whose manifest says that it takes a petabyte."""
    onnx_linear(root / "step", seed=77)
    footprint = {"step": {"footprint_bytes": {"cpu": TOO_LARGE_BYTES}}}
    (root / "roundhouse.json").write_text(json.dumps({"format_version": 1, "task": "tensor", "steps": footprint}))
    return root


STORE: Final[Mapping[str, Build]] = MappingProxyType(
    {
        "linear.tar.gz": one(onnx_linear, "linear"),
        "team/linear.tar.gz": one(partial(onnx_linear, seed=1), "linear"),
        'big name\'s "v1".tar.gz': one(partial(onnx_linear, seed=2), "linear"),
        "echo.tar.gz": one(python_echo),
        "vector.tar.gz": one(partial(onnx_identity, dims=[-1], max_batch_size=0)),
        "half.tar.gz": one(partial(onnx_identity, datatype="FP16", dims=[-1], max_batch_size=0)),
        "words.tar.gz": one(partial(python_echo, datatype="BYTES", dims=[-1], max_batch_size=0)),
        "typed.tar.gz": one(steps.typed),
        "labelled.tar.gz": labelled,
        "moody.tar.gz": one(steps.moody),
        "decoupled.tar.gz": one(steps.decoupled),
        "counting.tar.gz": one(steps.counting),
        "sessions.tar.gz": one(steps.sessions),
        "pipeline.tar.gz": linear_pipeline,
        "pipeline-b.tar.gz": partial(linear_pipeline, encoder_seed=0, head_seed=5),
        "pipeline-c.tar.gz": partial(linear_pipeline, encoder_seed=6, head_seed=7),
        "mixed.tar.gz": echo_pipeline,
        "too-large.tar.gz": too_large,
    }
)


def pack(root: Path, archive: Path) -> Path:
    """`tar czf archive -C root .`, and then rename, as a store asks its writers to."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    half = archive.with_name(f".half-{archive.name}")
    with tarfile.open(half, "w:gz", compresslevel=1) as tar:
        for path in sorted(root.iterdir()):
            tar.add(path, path.name)
    return half.rename(archive)


def put(store: Path, name: str, build: Build, scratch: Path) -> Path:
    """Build an archive and put it into the store. `scratch` is a folder for its unpacked form, made here."""
    scratch.mkdir(parents=True)
    build(scratch)
    return pack(scratch, store / name)


def fill(store: Path, scratch: Path) -> None:
    """Put all of `STORE` there."""
    for number, (name, build) in enumerate(STORE.items()):
        put(store, name, build, scratch / str(number))


def raw_tar(archive: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    """A .tar.gz of exactly these members, however hostile."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for member in members:
            info, content = (
                (member, b"") if isinstance(member, tarfile.TarInfo) else (tarfile.TarInfo(member[0]), member[1])
            )
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    """A link as a member of a tar."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def files_below(folder: Path) -> list[str]:
    """Every file below a folder, by relative path."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())

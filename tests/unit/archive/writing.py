"""Small Triton repositories whose model files are any bytes: the archive layer never looks into them."""

import contextlib
import io
import resource
import tarfile
from collections.abc import Iterator
from pathlib import Path

CONFIG = """
backend: "{backend}"
max_batch_size: {batch}
input [ {{ name: "{source}" data_type: {kind} dims: [ {dims} ] }} ]
output [ {{ name: "{result}" data_type: {kind} dims: [ {dims} ] {extra} }} ]
"""


def write_files(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def step_config(
    backend="onnxruntime", source="x", result="y", kind="TYPE_FP32", dims="4", batch=8, extra="", more=""
) -> str:
    text = CONFIG.format(backend=backend, source=source, result=result, kind=kind, dims=dims, batch=batch, extra=extra)
    return text + more


def onnx_step(content: str | bytes = b"weights", **config) -> dict[str, str | bytes]:
    return {"config.pbtxt": step_config(**config), "1/model.onnx": content}


def python_step(source: str = "pass", **config) -> dict[str, str | bytes]:
    return {"config.pbtxt": step_config(backend="python", **config), "1/model.py": source}


def ensemble_config(steps: list[tuple[str, str, str]], *, dims="4", kind="TYPE_FP32", batch=8, platform=True) -> str:
    """`steps` are (model, tensor in, tensor out); the models' own tensors are x and y; the ensemble's are IN and OUT."""
    entries = ", ".join(
        f'{{ model_name: "{model}" model_version: -1 input_map {{ key: "x" value: "{source}" }} '
        f'output_map {{ key: "y" value: "{result}" }} }}'
        for model, source, result in steps
    )
    return (
        ('platform: "ensemble"\n' if platform else "")
        + f"max_batch_size: {batch}\n"
        + f'input [ {{ name: "IN" data_type: {kind} dims: [ {dims} ] }} ]\n'
        + f'output [ {{ name: "OUT" data_type: {kind} dims: [ {dims} ] }} ]\n'
        + f"ensemble_scheduling {{ step [ {entries} ] }}\n"
    )


def repository(root: Path, **models: dict[str, str | bytes]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, files in models.items():
        write_files(root / name, files)
    return root


def chain(root: Path, first: bytes = b"first", second: bytes = b"second", names=("one", "two", "whole")) -> Path:
    """Model one, then model two, under an ensemble."""
    one, two, whole = names
    schedule = ensemble_config([(one, "IN", "between"), (two, "between", "OUT")])
    return repository(root, **{one: onnx_step(first), two: onnx_step(second), whole: {"config.pbtxt": schedule}})


def tar_bytes(*members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of (name, content) files, or of raw members as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member, io.BytesIO(bytes(member.size)))
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def contents(folder: Path) -> dict[str, bytes | None]:
    """{relative path: bytes}, `None` for a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@contextlib.contextmanager
def limited_file_size(size: int) -> Iterator[None]:
    """The kernel refuses to write files over `size` bytes: the nearest to a full disk that any machine has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

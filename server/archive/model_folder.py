"""One model of a Triton repository as it lies on disk: its config, its versions, and the files that are its content.

What counts as content is decided here once: digests, staging and packing must agree on it.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from server.archive.manifest import MANIFEST_FILE
from server.archive.model_config import ModelConfig, backend_of, is_ensemble, parse
from server.domain.errors import InvalidArchive
from server.domain.model import FileSha

CONFIG_FILE: Final = "config.pbtxt"
_MAX_CONFIG_BYTES: Final = 4 << 20
_NOTHING: Final[Mapping[str, FileSha]] = MappingProxyType({})
_BACKEND_BY_FILE: Final = {
    "model.onnx": "onnxruntime",
    "model.py": "python",
    "model.plan": "tensorrt",
    "model.dali": "dali",
    "model.pt": "pytorch",
}
_FILES_BY_BACKEND: Final = {
    "onnxruntime": ("model.onnx",),
    "python": ("model.py",),
    "tensorrt": ("model.plan",),
    "dali": ("model.dali", "dali.py"),
    "pytorch": ("model.pt",),
}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model: folder, parsed config (its `name` is the folder's) and the models it calls.

    `root` is the archive's folder: links must stay below it. `versions` are the version folders that the config's
    version policy keeps, ascending. `lacking` are files that belong to it and lie in other archives: their digests by
    path.
    """

    name: str
    path: Path
    config: ModelConfig
    calls: tuple[str, ...] = ()
    root: Path = Path("/")
    versions: tuple[str, ...] = ()
    lacking: Mapping[str, FileSha] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True, slots=True)
class ContentFile:
    """One file of a step, as it was when it was listed. `relative` is a POSIX path below the model's folder."""

    relative: str
    path: Path
    size: int
    mtime_ns: int


def is_ignored(name: str) -> bool:
    """Whether a folder's entry is left out: hidden things, resource forks of other systems, compiled Python."""
    return name.startswith(".") or name in {"__MACOSX", "__pycache__"} or name.endswith(".pyc")


def is_version(name: str) -> bool:
    """Whether a folder's name is a version number, as Triton reads it."""
    return name.isascii() and name.isdigit() and not name.startswith("0")


def is_model(path: Path) -> bool:
    """Whether a folder is a model: it has a config, or a version folder with a model file that tells its backend."""
    return (path / CONFIG_FILE).is_file() or any(_file_backend(path / version) for version in _version_names(path))


def read_model(path: Path, root: Path, name: str, lacking: Mapping[str, FileSha] = _NOTHING) -> ModelFolder:
    """Read one model's config and choose its versions; `calls` stays empty (that takes the other models).

    `lacking`: files that lie elsewhere, by path.

    Raises:
        InvalidArchive: the config does not parse, the backend cannot be told, or a version or model file is missing.
    """
    config = _read_config(path, root, name)
    config.name = name or config.name or "model"
    if "/" in config.name or "\\" in config.name or is_ignored(config.name):
        raise InvalidArchive(f"{config.name!r} in {CONFIG_FILE} cannot be a model's name; use letters, digits, _ and -")
    versions = kept_versions(config, _version_names(path))
    if not backend_of(config):
        config.backend = next((found for v in reversed(versions) if (found := _file_backend(path / v))), "")
    model = ModelFolder(config.name, path, config, (), root, versions, lacking)
    _check_files(model)
    return model


def _read_config(path: Path, root: Path, name: str) -> ModelConfig:
    file = path / CONFIG_FILE
    if not file.is_file():
        return parse("")
    where = f"{name}/{CONFIG_FILE}" if name else CONFIG_FILE
    try:
        _refuse_escape(file, root, where)
        if file.stat().st_size > _MAX_CONFIG_BYTES:
            raise InvalidArchive(f"{where} is larger than {_MAX_CONFIG_BYTES} bytes")
        return parse(file.read_text("utf-8"))
    except InvalidArchive as error:
        raise InvalidArchive(f"model {name!r}: {error}" if name else str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArchive(f"{where} is not readable UTF-8 text") from error


def _version_names(path: Path) -> list[str]:
    return sorted((entry.name for entry in path.iterdir() if is_version(entry.name) and _is_folder(entry)), key=int)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _file_backend(version: Path) -> str:
    return next((backend for file, backend in _BACKEND_BY_FILE.items() if (version / file).exists()), "")


def kept_versions(config: ModelConfig, found: list[str]) -> tuple[str, ...]:
    """The versions that the config's policy keeps, ascending; without a policy the highest one.

    Raises:
        InvalidArchive: the policy asks for a version that is not there, or no version is left.
    """
    policy = config.version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return tuple(found)
    if choice == "specific":
        wanted = {str(version) for version in policy.specific.versions}
        if missing := wanted.difference(found):
            raise InvalidArchive(
                f"model {config.name!r}: version_policy asks for version {', '.join(sorted(missing))}, "
                f"there is {', '.join(found) or 'none'}"
            )
        return tuple(version for version in found if version in wanted)
    count = policy.latest.num_versions if choice == "latest" else 1
    return tuple(found[-max(1, count) :])


def _check_files(model: ModelFolder) -> None:
    """Refuse what no engine can load: no version folder, or a version without its model file."""
    if is_ensemble(model.config):
        return  # an ensemble has no files of its own; its version folder is often lost on the way into a tar
    backend = backend_of(model.config)
    if not backend:
        raise InvalidArchive(
            f"model {model.name!r} names neither backend nor platform, and no file in its version folder tells it; "
            f'add a line such as  backend: "onnxruntime"  to {CONFIG_FILE}'
        )
    if not model.versions:
        raise InvalidArchive(
            f"model {model.name!r} has no version folder; put its files into {model.name}/1/ (any whole number above 0)"
        )
    named = model.config.default_model_filename
    if named and (Path(named).is_absolute() or ".." in Path(named).parts):
        raise InvalidArchive(f"model {model.name!r}: default_model_filename {named!r} leaves the version folder")
    wanted = (named,) if named else _FILES_BY_BACKEND.get(backend, ())
    for version in model.versions:
        is_lacking = any(f"{version}/{file}" in model.lacking for file in wanted)
        if wanted and not is_lacking and not any((model.path / version / file).exists() for file in wanted):
            raise InvalidArchive(
                f"model {model.name!r} has no {' or '.join(wanted)} in its version folder {version}, "
                f"which the backend {backend!r} loads"
            )


def content(model: ModelFolder) -> list[ContentFile]:
    """The files that make the step: kept versions and auxiliary files (labels, ...), sorted; without `config.pbtxt`.

    Left out: hidden files, `__pycache__`, versions that the policy does not keep, the archive's manifest.

    Raises:
        InvalidArchive: a link that leaves the archive, a link to a folder, or something that is not a file.
    """
    files = []
    for path in _walk(model.path, model):
        relative = path.relative_to(model.path).as_posix()
        if relative not in {CONFIG_FILE, MANIFEST_FILE}:
            status = path.stat()
            files.append(ContentFile(relative, path, status.st_size, status.st_mtime_ns))
    return sorted(files, key=lambda file: file.relative)


def _walk(folder: Path, model: ModelFolder) -> Iterator[Path]:
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        path = Path(entry.path)
        if is_ignored(entry.name) or _is_other_version(entry, folder, model):
            continue
        where = f"{model.name}/{path.relative_to(model.path).as_posix()}"
        if entry.is_symlink():
            _refuse_escape(path, model.root, where)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, model)
        elif path.is_file():
            yield path
        else:
            raise InvalidArchive(f"{where} is neither a file nor a folder; archives hold nothing else")


def _is_other_version(entry: os.DirEntry[Any], folder: Path, model: ModelFolder) -> bool:
    """Whether an entry is a version folder that the version policy does not keep."""
    if folder != model.path or not entry.is_dir(follow_symlinks=False):
        return False
    return is_version(entry.name) and entry.name not in model.versions


def _refuse_escape(path: Path, root: Path, where: str) -> None:
    """A link may spare a copy inside an archive; it may not reach the rest of the machine."""
    try:
        is_escape = path.is_symlink() and not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError is how pathlib reports a circle of links
        raise InvalidArchive(f"{where} is a link that leads nowhere") from error
    if is_escape:
        raise InvalidArchive(f"{where} is a link that leaves the archive; copy the file itself there")

"""The model repository that tritonserver reads: one folder per step, made once and never changed.

Triton loads a step again when the modification time of any file or folder below it changes, so nothing may write there.
Files are hard links to the staged ones where the file system allows it, links otherwise.
"""

import errno
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from server.archive.model_config import ModelConfig, parse, render
from server.domain.errors import DiskFull, InvalidArchive
from server.domain.model import Step
from server.engines.triton.repository.config_rewrite import CALLS_FILE, FILE_BY_BACKEND, calls_wiring, rewrite

_STEP_FILES: Final = Path(__file__).parent / "step_files"
_BYTECODE: Final = "__pycache__"
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_CONFIG: Final = "config.pbtxt"


class StagedRepository:
    """A folder of its own for one run of tritonserver. All calls block on the file system."""

    def __init__(self, root: Path, emulated: Collection[str] = (), *, has_response_cache: bool = True) -> None:
        """Make `root`/repository. `emulated`: backends that run on top of Triton's Python backend."""
        self._has_response_cache = has_response_cache
        self.folder = root / "repository"
        self._incoming = root / "incoming"
        self._emulated = frozenset(emulated)
        for folder in (self.folder, self._incoming):
            folder.mkdir(parents=True)

    def place(self, step: Step, name: str, calls: Mapping[str, str]) -> None:
        """Put `step` where Triton can load it as `name`. `calls`: names in Triton by the author's names.

        Raises:
            InvalidArchive: its config does not parse, or names a model the archive lacks.
            DiskFull: there is no room for it; nothing of it stays.
            OSError: the folder cannot be written for another reason.
        """
        if (self.folder / name).is_dir():
            return
        draft = self._incoming / name
        shutil.rmtree(draft, ignore_errors=True)
        try:
            with telling_of_a_full_disk(step.name):
                self._place(step, name, calls, draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)  # where it was placed it is not there any more

    def _place(self, step: Step, name: str, calls: Mapping[str, str], draft: Path) -> None:
        author = parse((step.directory / _CONFIG).read_text())
        self._check_model_file(step, author)
        _link_tree(step.directory, draft, is_python=step.backend == "python")
        config = rewrite(author, name, calls, self._emulated, has_response_cache=self._has_response_cache)
        (draft / _CONFIG).write_text(render(config))
        if step.backend == "python" and step.calls:
            wiring = json.dumps(calls_wiring(author, calls))
            for version in (entry for entry in draft.iterdir() if entry.name.isdigit()):
                shutil.copyfile(_STEP_FILES / CALLS_FILE, version / CALLS_FILE)
                (version / CALLS_FILE).with_suffix(".json").write_text(wiring)
        for version in (entry for entry in step.directory.iterdir() if entry.name.isdigit()):
            (draft / version.name).mkdir(exist_ok=True)
        if not any(entry.name.isdigit() for entry in draft.iterdir()):
            (draft / "1").mkdir()  # an ensemble needs an empty one
        draft.rename(self.folder / name)

    def _check_model_file(self, step: Step, config: ModelConfig) -> None:
        """Triton waits for ever for a Python stub that finds no file to run. Raises InvalidArchive."""
        if step.backend not in {"python", *self._emulated}:
            return
        file = config.default_model_filename or FILE_BY_BACKEND[step.backend]
        versions = [entry for entry in step.directory.iterdir() if entry.name.isdigit()]
        newest = max(versions, key=lambda entry: int(entry.name), default=None)
        if newest is None or not (newest / file).exists():
            raise InvalidArchive(f"step {step.name!r} has no {file} in its newest version folder")

    def remove(self, name: str) -> None:
        """Forget a step that Triton has unloaded. Unknown names are ignored."""
        shutil.rmtree(self.folder / name, ignore_errors=True)


@contextmanager
def telling_of_a_full_disk(step: str) -> Iterator[None]:
    """Turn the system's error into DiskFull: a full disk may have room soon, and is no fault of the step's content."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise DiskFull(f"no room left on the disk to hand step {step!r} to tritonserver") from error
        raise


def _link_tree(source: Path, target: Path, *, is_python: bool) -> None:
    target.mkdir()
    for entry in source.iterdir():
        if entry.name in (_BYTECODE, _CONFIG):
            continue
        if entry.is_dir():
            _link_tree(entry, target / entry.name, is_python=is_python)
        else:
            _link(entry.resolve(), target / entry.name)
    if is_python:
        # A file in its place keeps Python from writing bytecode. The stub ignores PYTHONDONTWRITEBYTECODE.
        (target / _BYTECODE).touch()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or no right to link
        target.symlink_to(source)

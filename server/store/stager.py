"""From what an origin handed out to steps that the disk cache can adopt: unpack, validate, lay out. Blocking.

All of it happens in a workspace, so that nothing is left behind when it fails.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from server.archive.digest import FileDigest, file_digest
from server.archive.filling import fill_in, twin_of
from server.archive.layout import find_models, read_needs
from server.archive.needs import Borrowed, FileNeeds, LentFiles, Loan, Needs
from server.archive.staging import CompleteConfig, FindPlaced, stage_folder
from server.archive.unpack import UnpackLimits, unpack
from server.archive.weights import FindFile
from server.domain.model import StagedArchive
from server.store import faults, local_files, predicted
from server.store.disk import files as disk_files
from server.store.disk.cache import DiskCache
from server.store.disk.workspace import Workspace
from server.store.origin import OriginChanged
from server.store.stopwatch import Stopwatch


class StageFolder(Protocol):
    """`server.archive.staging.stage_folder`."""

    def __call__(
        self,
        root: Path,
        name: str,
        version: str,
        steps_dir: Path,
        complete: CompleteConfig,
        link: bool,
        digest_of: FileDigest,
        *,
        placed: FindPlaced,
        borrowed: Borrowed,
        sharing: bool,
        equal_file: FindFile,
    ) -> StagedArchive:
        """Lay the steps of the repository below `root` out in `steps_dir`."""
        ...


@dataclass(frozen=True, slots=True)
class ArchiveTools:
    """What the archive layer does for the store; tests replace one to let it fail."""

    unpack: Callable[[BinaryIO, Path, UnpackLimits], None] = unpack
    stage_folder: StageFolder = stage_folder
    digest_of: FileDigest = file_digest


@dataclass(frozen=True, slots=True)
class Fetched:
    """An archive on local disk: a tar file (`is_packed`) or a folder. What is not `is_ours` is only read."""

    name: str
    version: str
    path: Path
    is_ours: bool
    is_packed: bool

    @classmethod
    def at(cls, path: Path, name: str, version: str, workspace: Workspace) -> Self:
        """Look at what an origin handed out. Blocking."""
        return cls(name, version, path, path.is_relative_to(workspace.path), not path.is_dir())

    @property
    def came_from(self) -> str:
        """How far the content came, as `StagedArchive.staged_from` says it."""
        return "store" if self.is_ours or self.is_packed else "disk"


@dataclass(frozen=True, slots=True)
class Opened:
    """Where an archive lies unpacked, and which steps, and files of its own steps, it leaves out."""

    root: Path
    needs: Needs
    file_needs: FileNeeds


class Stager:
    """Unpacks and lays out. `complete` fills in configs that lack inputs, outputs or backend (the engine knows how)."""

    def __init__(
        self,
        cache: DiskCache,
        complete: CompleteConfig,
        limits: UnpackLimits,
        tools: ArchiveTools,
        *,
        sharing: bool = True,
    ) -> None:
        """Without `sharing` no step of an archive is ever the same as one of another."""
        self._sharing = sharing
        self._cache = cache
        self._complete = complete
        self._limits = limits
        self._tools = tools

    def needed_bytes(self, fetched: Fetched, workspace: Workspace) -> int:
        """How much room `fetched` takes until it is unpacked, as far as it says. Raises StoreUnavailable."""
        with faults.writing(fetched.name):
            if fetched.is_packed:
                return _held(fetched) + min(predicted.unpacked_bytes(fetched.path), self._limits.total_bytes)
            is_copied = not fetched.is_ours and fetched.path.stat().st_dev != workspace.path.stat().st_dev
            return local_files.total_bytes(fetched.path, fetched.path) if is_copied else workspace.reserved_bytes

    def counted_bytes(self, fetched: Fetched, needed_bytes: int) -> int:
        """The same, checked: a gzip file may claim any size. `needed_bytes` is what it says.

        Raises:
            InvalidArchive: it is truncated or corrupt.
            StoreUnavailable.
        """
        with faults.writing(fetched.name):
            if not fetched.is_packed:
                return needed_bytes
            held = _held(fetched)
            return held + predicted.counted_bytes(fetched.path, needed_bytes - held)

    def open(self, fetched: Fetched, workspace: Workspace, watch: Stopwatch) -> Opened:
        """Unpack `fetched` into the workspace, or look at the folder that it is; `watch` learns what it took.

        The room that `needed_bytes` says is reserved.

        Raises:
            InvalidArchive: the content is at fault.
            OriginChanged: it was overwritten while it was read.
            DiskFull, StoreUnavailable.
        """
        with faults.writing(fetched.name):
            root = self._unpack(fetched, workspace, watch) if fetched.is_packed else self._folder(fetched)
            return Opened(root, *read_needs(root))

    def stage(
        self,
        fetched: Fetched,
        opened: Opened,
        workspace: Workspace,
        watch: Stopwatch,
        loan: Loan,
        *,
        is_private: bool = False,
    ) -> StagedArchive:
        """Lay the steps of what was `opened` out in the workspace, ready for `DiskCache.adopt`.

        Files are linked into the steps, not copied, where the file system allows. What the archive needs of others is
        its `loan`. `is_private`: it is for one borrower only, who names the steps by their shared digests.

        Raises:
            InvalidArchive, UnsupportedModel: the content is at fault.
            DiskFull, StoreUnavailable.
        """
        with faults.writing(fetched.name):
            root = self._whole(fetched, opened.root, workspace, loan.files)
            return self._tools.stage_folder(
                root,
                fetched.name,
                fetched.version,
                workspace.steps,
                self._complete,
                link=True,
                digest_of=watch.timed(partial(self._digest_of, _known(root, opened.file_needs))),
                placed=partial(self._cache.placed, workspace),
                borrowed=loan.steps,
                sharing=self._sharing or is_private,
                equal_file=self._cache.equal_file,
            )

    def _digest_of(self, lent: Mapping[Path, str], path: Path) -> str:
        """Borrowed weights are known; links that came and went since they were read hide that from others."""
        return lent.get(path) or self._cache.weight_digest(path) or self._tools.digest_of(path)

    def _whole(self, fetched: Fetched, root: Path, workspace: Workspace, lent: LentFiles) -> Path:
        """Where the archive lies with all its files; one that is not ours is left as it is."""
        if not lent:
            return root
        is_ours = fetched.is_packed or fetched.is_ours
        whole = root if is_ours else twin_of(root, workspace.path / "whole")
        fill_in(whole, lent)
        return whole

    def _folder(self, fetched: Fetched) -> Path:
        if fetched.is_ours:
            disk_files.make_read_only(fetched.path)
        return fetched.path

    def _unpack(self, fetched: Fetched, workspace: Workspace, watch: Stopwatch) -> Path:
        into = workspace.path / "unpacked"
        into.mkdir()
        with fetched.path.open("rb") as source, watch.unpacking():
            _require_unchanged(fetched, source)
            try:
                self._tools.unpack(source, into, self._limits)
            finally:
                _require_unchanged(fetched, source)
        watch.unpacked(local_files.total_bytes(into, into))
        if fetched.is_ours:
            held = _held(fetched)
            fetched.path.unlink()
            self._cache.reserve(fetched.name, workspace, workspace.reserved_bytes - held)
        return into


def _known(root: Path, needs: FileNeeds) -> Mapping[Path, str]:
    """The digests of files that were just put into the archive at `root`."""
    paths = find_models(root).paths if needs else {}
    return {paths[model] / path: need.digest for model, files in needs.items() for path, need in files.items()}


def _held(fetched: Fetched) -> int:
    return fetched.path.stat().st_size if fetched.is_ours else 0


def _require_unchanged(fetched: Fetched, source: BinaryIO) -> None:
    """The open file is the version that was asked for; one that is replaced by renaming stays readable as it was."""
    if not fetched.is_ours and local_files.file_identity(os.fstat(source.fileno())) != fetched.version:
        raise OriginChanged(fetched.name)

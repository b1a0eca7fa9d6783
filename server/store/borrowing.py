"""Where a delta archive's missing steps and files come from: the disk cache by digest, or else the bases it names.

A base is staged as if somebody had asked for it, so that a hundred heads fetch it once. The digests that the head names
tell whether its content still is what the head was made for.

Where sharing is switched off, nothing is taken from the cache: each head's base is fetched anew, into a workspace of
its own, as if the head had it inside.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from server.archive.needs import FileNeed, FileNeeds, Loan, Need, Needs
from server.domain.errors import ArchiveNotFound, InvalidArchive, UnsupportedModel
from server.domain.model import StagedArchive
from server.store.awaited import Awaited
from server.store.disk.cache import DiskCache
from server.store.disk.workspace import Workspace
from server.store.names import canonical
from server.store.threads import StoreThreads

BringBase: TypeAlias = Callable[[str], AbstractAsyncContextManager[StagedArchive]]
"""Stages an archive of the store by its canonical name. Its steps lie there until the context ends, or longer."""


class UnmetNeed(Exception):
    """What an archive needs of others is not to be had. Never leaves this package: callers are told InvalidArchive.

    Unlike other faults of the content it is not remembered: the base may be mended while the head stays as it is.
    """


@dataclass(frozen=True, slots=True)
class Borrower:
    """Who needs steps: an archive's key in the cache, its name, and where it is being laid out."""

    key: str
    name: str
    workspace: Workspace


class Borrowing:
    """Finds needed steps. Lives on one event loop."""

    def __init__(
        self,
        cache: DiskCache,
        threads: StoreThreads,
        bring: BringBase,
        told: Callable[[str], None] = lambda _: None,
        *,
        sharing: bool,
    ) -> None:
        """`told` hears the key of every base that somebody begins to wait for."""
        self._cache = cache
        self._threads = threads
        self._bring = bring
        self._sharing = sharing
        self._told = told
        self._awaited = Awaited()

    @asynccontextmanager
    async def lend(self, borrower: Borrower, needs: Needs, file_needs: FileNeeds) -> AsyncIterator[Loan]:
        """Where each needed step and file lies. They stay while the context, and the borrower's workspace, last.

        Raises:
            UnmetNeed: a base is missing, broken, or does not have it; or archives need each other in a circle.
            DiskFull, StoreUnavailable: from staging a base.
        """
        async with AsyncExitStack() as lent:
            bases: dict[str, StagedArchive] = {}

            async def base(archive: str, what: str) -> StagedArchive:
                if archive not in bases:
                    bases[archive] = await self._base(borrower, archive, what, lent)
                return bases[archive]

            steps: dict[str, Path] = {}
            for model, need in needs.items():
                folder = await self._placed(borrower, need)
                what = f"the step {model!r}"
                steps[model] = folder or _step_of(await base(need.archive, what), borrower, model, need)
            files: dict[str, dict[str, Path]] = {}
            for model, paths in file_needs.items():
                for path, wanted in paths.items():
                    file, what = await self._lent(borrower, wanted), f"the file {model}/{path}"
                    file = file or _file_of(await base(wanted.archive, what), borrower, what, wanted)
                    files.setdefault(model, {})[path] = file
            yield Loan(steps, files)

    def is_awaited(self, base: str) -> bool:
        """Whether anybody waits for this base."""
        return self._awaited.is_awaited(base)

    def borrowers(self, base: str) -> list[str]:
        """The keys of those who wait for this base."""
        return self._awaited.borrowers(base)

    async def _placed(self, borrower: Borrower, need: Need) -> Path | None:
        if not self._sharing:
            return None
        return await self._threads.check(self._cache.placed, borrower.workspace, need.digest)

    async def _lent(self, borrower: Borrower, need: FileNeed) -> Path | None:
        if not self._sharing:
            return None
        return await self._threads.check(self._cache.lend_file, borrower.workspace, need.digest, need.size_bytes)

    async def _base(self, borrower: Borrower, archive: str, what: str, lent: AsyncExitStack) -> StagedArchive:
        wants = f"archive {borrower.name!r} needs {what} of {archive!r}"
        try:
            name = canonical(archive)
            base = f"store:{name}"
            if self._awaited.leads_to(base, borrower.key):  # a circle would wait for ever
                raise UnmetNeed(f"archive {borrower.name!r} needs itself, by way of {name!r}")
            with self._awaited.waiting(borrower.key, base):
                self._told(base)
                return await lent.enter_async_context(self._bring(name))
        except ArchiveNotFound as error:
            raise UnmetNeed(f"{wants}, which is not in the store") from error
        except (InvalidArchive, UnsupportedModel) as error:
            raise UnmetNeed(f"{wants}, which cannot be staged: {error}") from error


def _step_of(base: StagedArchive, borrower: Borrower, model: str, need: Need) -> Path:
    for step in base.steps:
        if step.digest == need.digest:
            return step.directory
    there = next((step.digest for step in base.steps if step.name == model), None)
    has = f"has {there} under that name" if there else f"has only {', '.join(step.name for step in base.steps)}"
    raise UnmetNeed(
        f"archive {borrower.name!r} needs the step {model!r} with the digest {need.digest}, but {need.archive!r} "
        f"{has}; put the base back that it was built on, or build it anew"
    )


def _file_of(base: StagedArchive, borrower: Borrower, what: str, need: FileNeed) -> Path:
    for step in base.steps:
        for file in step.weights:
            if (file.digest, file.size_bytes) == (need.digest, need.size_bytes):
                return step.directory / file.path
    raise UnmetNeed(
        f"archive {borrower.name!r} needs {what} with the SHA-256 {need.digest}, but {need.archive!r} has none such; "
        "put the base back that it was built on, or build it anew"
    )

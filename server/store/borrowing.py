"""Where a delta archive's missing steps come from: the disk cache by digest, or else the base archives that it names.

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

from server.archive.needs import Borrowed, Need, Needs
from server.domain.errors import ArchiveNotFound, InvalidArchive, UnsupportedModel
from server.domain.model import StagedArchive
from server.store.disk.cache import DiskCache
from server.store.disk.workspace import Workspace
from server.store.names import canonical
from server.store.threads import StoreThreads

BringBase: TypeAlias = Callable[[str], AbstractAsyncContextManager[StagedArchive]]
"""Stages an archive of the store by its canonical name. Its steps lie there until the context ends, or longer."""


class UnmetNeed(Exception):
    """A step that an archive needs is not to be had. Never leaves this package: callers are told InvalidArchive.

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

    def __init__(self, cache: DiskCache, threads: StoreThreads, bring: BringBase, *, sharing: bool) -> None:
        self._cache = cache
        self._threads = threads
        self._bring = bring
        self._sharing = sharing
        self._awaits: dict[str, str] = {}
        """Who waits for which base, by key: a circle would wait for ever."""

    @asynccontextmanager
    async def steps(self, borrower: Borrower, needs: Needs) -> AsyncIterator[Borrowed]:
        """Where each needed step lies. They stay there while the context, and the borrower's workspace, last.

        Raises:
            UnmetNeed: a base is missing, broken, or does not have the step; or archives need each other in a circle.
            DiskFull, StoreUnavailable: from staging a base.
        """
        async with AsyncExitStack() as lent:
            found: dict[str, Path] = {}
            bases: dict[str, StagedArchive] = {}
            for model, need in needs.items():
                folder = await self._placed(borrower, need)
                if folder is None:
                    if need.archive not in bases:
                        bases[need.archive] = await self._base(borrower, model, need, lent)
                    folder = _step_of(bases[need.archive], borrower, model, need)
                found[model] = folder
            yield found

    def is_awaited(self, base: str) -> bool:
        """Whether anybody waits for this base."""
        return base in self._awaits.values()

    def borrowers(self, base: str) -> list[str]:
        """The keys of those who wait for this base."""
        return [key for key, awaited in self._awaits.items() if awaited == base]

    async def _placed(self, borrower: Borrower, need: Need) -> Path | None:
        if not self._sharing:
            return None
        return await self._threads.check(self._cache.placed, borrower.workspace, need.digest)

    async def _base(self, borrower: Borrower, model: str, need: Need, lent: AsyncExitStack) -> StagedArchive:
        wants = f"archive {borrower.name!r} needs the step {model!r} of {need.archive!r}"
        try:
            name = canonical(need.archive)
            self._refuse_circle(borrower, f"store:{name}")
            self._awaits[borrower.key] = f"store:{name}"
            return await lent.enter_async_context(self._bring(name))
        except ArchiveNotFound as error:
            raise UnmetNeed(f"{wants}, which is not in the store") from error
        except (InvalidArchive, UnsupportedModel) as error:
            raise UnmetNeed(f"{wants}, which cannot be staged: {error}") from error
        finally:
            self._awaits.pop(borrower.key, None)

    def _refuse_circle(self, borrower: Borrower, base: str) -> None:
        way: str | None = base
        while way is not None:
            if way == borrower.key:
                raise UnmetNeed(f"archive {borrower.name!r} needs itself, by way of {base.removeprefix('store:')!r}")
            way = self._awaits.get(way)


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

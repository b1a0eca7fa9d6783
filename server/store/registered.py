"""Archives that somebody loaded explicitly (`POST /models`): an id, a folder, and the name that requests will use."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from server.domain.errors import AlreadyLoaded, ArchiveNotFound, ForbiddenPath, InvalidArchive, NotLoaded
from server.store import local_files
from server.store.names import canonical


@dataclass(frozen=True, slots=True)
class Registered:
    """One explicit load. `target` is "" where only the id was given."""

    id: str
    folder: Path
    target: str = ""

    @property
    def name(self) -> str:
        """What the archive is called in answers: the target, or else the id."""
        return self.target or self.id

    @property
    def key(self) -> str:
        """Its key in the disk cache; no archive of an origin has one like it."""
        return f"load:{self.id}"


class RegisteredFolders:
    """Explicit loads. Their ids and targets take precedence over the archives of the origin."""

    def __init__(self, load_root: Path | None = None) -> None:
        """`load_root`: folders elsewhere are refused; `None` allows every folder."""
        self.load_root = load_root
        self._by_id: dict[str, Registered] = {}
        self._by_name: dict[str, Registered] = {}
        self._listeners: list[Callable[[Registered], None]] = []
        self._added_listeners: list[Callable[[Registered], None]] = []

    def add(self, id: str, folder: Path, target: str = "", *, is_trusted: bool = False) -> Registered:  # noqa: A002
        """Register a folder (or a tar file) under an id and, if given, a target name.

        `is_trusted`: the operator chose the folder, not a caller, so it may lie anywhere.

        Raises:
            AlreadyLoaded: the id, or the target, is in use.
            ForbiddenPath: the folder is outside the load root, or leads there.
            InvalidArchive: there is nothing at that path.
        """
        registered = Registered(id, folder, target)
        for name in _names(registered):
            if name in self._by_name:
                raise AlreadyLoaded(name)
        if not is_trusted and self.load_root is not None and local_files.leads_out(folder, self.load_root):
            raise ForbiddenPath(f"model {id!r}: its folder is not below the folder that models may be loaded from")
        if not folder.exists():
            raise InvalidArchive(f"model {id!r}: there is no folder at the url that was given")
        self._by_id[id] = registered
        self._by_name.update(dict.fromkeys(_names(registered), registered))
        for listener in self._added_listeners:
            listener(registered)
        return registered

    def remove(self, id: str) -> Registered:  # noqa: A002 -- the contract's word
        """Forget an id and its target. Raises NotLoaded."""
        registered = self._by_id.pop(id, None)
        if registered is None:
            raise NotLoaded(id)
        for name in _names(registered):
            del self._by_name[name]
        for listener in self._listeners:
            listener(registered)
        return registered

    def get(self, id: str) -> Registered:  # noqa: A002 -- the contract's word
        """The load with this id. Raises NotLoaded."""
        try:
            return self._by_id[id]
        except KeyError:
            raise NotLoaded(id) from None

    def find(self, name: str) -> Registered | None:
        """The load that requests for `name` (an id, or a target in any spelling) mean."""
        return self._by_name.get(name)

    def list(self) -> list[Registered]:
        """All loads, sorted by id."""
        return [self._by_id[each] for each in sorted(self._by_id)]

    def on_added(self, listener: Callable[[Registered], None]) -> None:
        """Call `listener` after each addition."""
        self._added_listeners.append(listener)

    def on_removed(self, listener: Callable[[Registered], None]) -> None:
        """Call `listener` after each removal."""
        self._listeners.append(listener)


def _names(registered: Registered) -> set[str]:
    """Every spelling that means this load: the id byte for byte, the target as sent and in its canonical form."""
    names = {registered.id}
    if registered.target:
        names.add(registered.target)
        with suppress(ArchiveNotFound):  # a target that no origin could have; requests spell it as LOAD did
            names.add(canonical(registered.target))
    return names

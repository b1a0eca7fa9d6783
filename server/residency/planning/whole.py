"""Which of the contents that wait need no room at all, since others hold every step of theirs.

Each content is kept under one step that nobody holds, and looked at again when somebody does: so an event costs what it
changes, however many wait.
"""

from collections.abc import Callable, Collection

from server.domain.model import StagedArchive, StepDigest


class WholeOnes:
    """Contents by one missing step. `is_held` tells whether a step is in memory, or coming, and stays."""

    def __init__(self, is_held: Callable[[StepDigest], bool]) -> None:
        self._is_held = is_held
        self._missing: dict[str, StepDigest] = {}
        self._by_missing: dict[StepDigest, dict[str, StagedArchive]] = {}
        self._whole: dict[str, StagedArchive] = {}

    def enter(self, archive: StagedArchive) -> None:
        """It waits from now on."""
        # The last step is the archive's own as a rule, the first one many archives'.
        missing = next((step.digest for step in reversed(archive.steps) if not self._is_held(step.digest)), None)
        if missing is None:
            self._whole[archive.key] = archive
        else:
            self._missing[archive.key] = missing
            self._by_missing.setdefault(missing, {})[archive.key] = archive

    def leave(self, key: str) -> None:
        """It waits no more."""
        self._whole.pop(key, None)
        missing = self._missing.pop(key, None)
        if missing is not None:
            waiting = self._by_missing[missing]
            del waiting[key]
            if not waiting:
                del self._by_missing[missing]

    def held(self, digest: StepDigest) -> None:
        """Somebody holds a step that nobody held."""
        for key, archive in self._by_missing.pop(digest, {}).items():
            del self._missing[key]
            self.enter(archive)

    def has(self, key: str) -> bool:
        """Whether every step of it was held when it came, or since."""
        return key in self._whole

    def now(self) -> Collection[StagedArchive]:
        """Those of which every step is held now, in no order."""
        for archive in list(self._whole.values()):
            if not all(self._is_held(step.digest) for step in archive.steps):
                del self._whole[archive.key]
                self.enter(archive)
        return self._whole.values()

"""A memory with a byte budget: parts are counted by reference, archives are what comes and goes."""

from benchmarks.simulation.policies.policy import Load
from benchmarks.traffic.trace import Archive


class Memory:
    """What is charged right now."""

    def __init__(self, archives: tuple[Archive, ...]) -> None:
        indices: dict[str, int] = {}
        parts = [part for archive in archives for part in archive.parts]
        for part in parts:
            indices.setdefault(part.digest, len(indices))
        self._bytes = [0] * len(indices)
        self._load_s = [0.0] * len(indices)
        for part in parts:
            self._bytes[indices[part.digest]] = part.bytes
            self._load_s[indices[part.digest]] = part.load_s
        self._parts_of = [tuple(indices[part.digest] for part in archive.parts) for archive in archives]
        self._references = [0] * len(indices)
        self.whole = [archive.bytes for archive in archives]
        """Bytes of each archive with nothing shared."""
        self.used = 0
        """Bytes charged."""

    def hold(self, archive: int) -> Load:
        """Charge the parts of an archive that are not there yet; says what they are."""
        size, load_s = 0, 0.0
        for part in self._parts_of[archive]:
            if not self._references[part]:
                size += self._bytes[part]
                load_s += self._load_s[part]
            self._references[part] += 1
        self.used += size
        return Load(size, load_s)

    def release(self, archive: int) -> None:
        """Give back the parts that no other archive holds."""
        for part in self._parts_of[archive]:
            self._references[part] -= 1
            if not self._references[part]:
                self.used -= self._bytes[part]

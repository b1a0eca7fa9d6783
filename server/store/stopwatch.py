"""Splits the time of one staging into its phases."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.archive.digest import FileDigest
from server.domain.clock import Clock
from server.domain.cold_start import Staging


class Stopwatch:
    """Started by making it. The phases of one staging follow one another, so one at a time writes here."""

    def __init__(self, clock: Clock) -> None:
        self._now = clock.now
        self._began = clock.now()
        self._fetch_s = 0.0
        self._unpack_s = 0.0
        self._digest_s = 0.0
        self._wait_s = 0.0
        self._fetched_bytes = 0
        self._unpacked_bytes = 0

    @contextmanager
    def fetching(self) -> Iterator[None]:
        """Around the copy from the origin."""
        began = self._now()
        yield
        self._fetch_s += self._now() - began

    def fetched(self, size: int) -> None:
        """So many bytes came from the store."""
        self._fetched_bytes += size

    @contextmanager
    def unpacking(self) -> Iterator[None]:
        """Around the unpacking."""
        began = self._now()
        yield
        self._unpack_s += self._now() - began

    def unpacked(self, size: int) -> None:
        """So many bytes were written by unpacking."""
        self._unpacked_bytes += size

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around the staging of other archives, which has its own stopwatch: it is no phase of this one."""
        began = self._now()
        yield
        self._wait_s += self._now() - began

    def timed(self, digest_of: FileDigest) -> FileDigest:
        """The same, counted as time of digesting."""

        def digest(path: Path) -> str:
            began = self._now()
            try:
                return digest_of(path)
            finally:
                self._digest_s += self._now() - began

        return digest

    def staging(self) -> Staging:
        """The phases until now; what is none of the others is placing."""
        rest = self._now() - self._began - self._wait_s - self._fetch_s - self._unpack_s - self._digest_s
        return Staging(
            self._fetch_s, self._unpack_s, self._digest_s, max(0.0, rest), self._fetched_bytes, self._unpacked_bytes
        )

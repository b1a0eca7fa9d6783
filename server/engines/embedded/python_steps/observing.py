"""`pb_utils.Logger` and `pb_utils.MetricFamily`: what a model tells about itself."""

import enum
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypeAlias

WriteLog: TypeAlias = Callable[[int, str], None]
"""Takes a level of `logging` and a line."""


class LogLevel(enum.IntEnum):
    """Levels, with the values of `logging`."""

    VERBOSE = logging.DEBUG
    INFO = logging.INFO
    WARNING = logging.WARNING
    ERROR = logging.ERROR


class Logger:
    """Writes to the server's log. Used as a class: `pb_utils.Logger.log_info("...")`."""

    VERBOSE, INFO, WARNING, ERROR = LogLevel
    LogLevel = LogLevel
    _write: ClassVar[WriteLog]

    @classmethod
    def log(cls, message: str, level: int = LogLevel.INFO) -> None:
        """Write one message."""
        cls._write(int(level), str(message))

    @classmethod
    def log_info(cls, message: str) -> None:
        """Write at level info."""
        cls.log(message, LogLevel.INFO)

    @classmethod
    def log_warn(cls, message: str) -> None:
        """Write at level warning."""
        cls.log(message, LogLevel.WARNING)

    @classmethod
    def log_error(cls, message: str) -> None:
        """Write at level error."""
        cls.log(message, LogLevel.ERROR)

    @classmethod
    def log_verbose(cls, message: str) -> None:
        """Write at level debug."""
        cls.log(message, LogLevel.VERBOSE)


class MetricKind(enum.IntEnum):
    """What a metric's value means."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2


class Metric:
    """One number of a family. Kept for the model itself; the server does not publish it."""

    def __init__(self, kind: MetricKind, labels: Mapping[str, str], buckets: Sequence[float]) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._value = 0.0
        self.labels = dict(labels)
        self.buckets = list(buckets)

    def increment(self, value: float) -> None:
        """Add to a counter or a gauge; a counter only grows."""
        if self._kind is MetricKind.HISTOGRAM or (self._kind is MetricKind.COUNTER and value < 0):
            raise ValueError(f"a {self._kind.name.lower()} cannot be incremented by {value}")
        with self._lock:
            self._value += value

    def set(self, value: float) -> None:
        """Set a gauge."""
        if self._kind is not MetricKind.GAUGE:
            raise ValueError(f"a {self._kind.name.lower()} cannot be set")
        self._value = float(value)

    def observe(self, value: float) -> None:
        """Note one value of a histogram."""
        if self._kind is not MetricKind.HISTOGRAM:
            raise ValueError(f"a {self._kind.name.lower()} does not observe values")
        with self._lock:
            self._value += value

    def value(self) -> float:
        """The value now; of a histogram, the sum of what it observed."""
        return self._value


class MetricFamily:
    """A named group of metrics."""

    COUNTER, GAUGE, HISTOGRAM = MetricKind

    def __init__(self, name: str, description: str, kind: MetricKind) -> None:
        self.name = name
        self.description = description
        self._kind = MetricKind(kind)

    def Metric(  # noqa: N802 - the public name
        self, labels: Mapping[str, str] | None = None, buckets: Sequence[float] | None = None
    ) -> Metric:
        """Make a metric of this family."""
        return Metric(self._kind, labels or {}, buckets or ())

"""Log lines: one JSON object or one line of text each, with the id of the request they belong to, bounded in length."""

import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, Literal, TextIO, TypeAlias

import orjson

LineFormat: TypeAlias = Literal["json", "text"]

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The request that the running task works for; empty outside of requests."""

MAX_CHARS: Final = 8192
"""Longest message or traceback of one line; a model's error text can be megabytes."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(line_format: LineFormat, level: str, stream: TextIO | None = None) -> None:
    """Send everything that is logged in this process to `stream` (stderr), at `level` or above."""
    sink = logging.StreamHandler(stream or sys.stderr)
    sink.setFormatter(JsonLines() if line_format == "json" else TextLines())
    root = logging.getLogger()
    root.handlers = [sink]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    # It writes a traceback for an answer that breaks off in its head, which the store tells of as any other failure.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # We write one line per request ourselves, and only where it is wanted.
    logging.getLogger("uvicorn.access").disabled = True


class JsonLines(logging.Formatter):
    """One JSON object a line: time (seconds since the epoch), level, logger, message, request_id, and the `extra`s."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line; what JSON does not know is written as text."""
        line: dict[str, Any] = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _bounded(record.getMessage()),
        }
        if current := request_id.get():
            line["request_id"] = current
        line.update({key: value for key, value in _extras(record).items() if key not in line})
        if record.exc_info:
            line["traceback"] = _bounded(self.formatException(record.exc_info))
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY).decode()


class TextLines(logging.Formatter):
    """A line for people: `12:34:56 INFO  residency: loaded minilm seconds=1.2 (request 4f..)`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line, with the traceback below it."""
        extras = "".join(f" {key}={_bounded(str(value))}" for key, value in _extras(record).items())
        current = request_id.get()
        suffix = f" (request {current})" if current else ""
        short = record.name.rpartition(".")[2]
        head = f"{self.formatTime(record, '%H:%M:%S')} {record.levelname:<7} {short}: "
        text = f"{head}{_bounded(record.getMessage())}{extras}{suffix}".replace("\n", "\\n")
        return f"{text}\n{_bounded(self.formatException(record.exc_info))}" if record.exc_info else text


def _extras(record: logging.LogRecord) -> Mapping[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}... ({len(text) - MAX_CHARS} more characters)"

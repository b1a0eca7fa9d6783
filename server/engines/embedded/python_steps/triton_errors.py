"""`pb_utils.TritonError` and `pb_utils.TritonModelException`: how a model says that something went wrong."""

from typing import ClassVar


class TritonError:
    """An error that a response carries instead of outputs."""

    UNKNOWN: ClassVar[int] = 0
    INTERNAL: ClassVar[int] = 1
    NOT_FOUND: ClassVar[int] = 2
    INVALID_ARG: ClassVar[int] = 3
    UNAVAILABLE: ClassVar[int] = 4
    UNSUPPORTED: ClassVar[int] = 5
    ALREADY_EXISTS: ClassVar[int] = 6
    CANCELLED: ClassVar[int] = 7

    __slots__ = ("_code", "_message")

    def __init__(self, message: str, code: int = INTERNAL) -> None:
        self._message = str(message)
        self._code = code

    def message(self) -> str:
        """What went wrong, for the caller."""
        return self._message

    def code(self) -> int:
        """One of the class's constants."""
        return self._code

    def __str__(self) -> str:
        return self._message


class TritonModelException(Exception):
    """Raised by the API on wrong use, and by models for their own failures."""

    def message(self) -> str:
        """What went wrong."""
        return str(self)

"""Every failure a caller can meet, split by whose fault it is.

RoundhouseError
├── ClientError            the request or the archive is wrong; repeating it changes nothing
│   ├── InvalidRequest         the payload does not decode, or does not fit the model
│   ├── InvalidHeader          a header of the surface has a value that it may not have
│   ├── WrongTarget            no archive is named, or two different ones
│   ├── PayloadTooLarge        a body over the limit
│   ├── UnsupportedMediaType   no codec reads the Content-Type for this model
│   ├── NotAcceptable          no codec writes what Accept asks for
│   ├── ArchiveNotFound        no archive of that name in any source
│   ├── NotLoaded              an explicitly managed model id that is not loaded
│   ├── AlreadyLoaded          LOAD of an id that is already there
│   ├── InvalidArchive         corrupt, hostile, or not a Triton repository
│   ├── ForbiddenPath          LOAD of a folder outside the load root
│   ├── UnsupportedModel       the archive asks for what this engine cannot run
│   └── UnsupportedOperation   the server, as it was set up, cannot do what it was asked for
├── CapacityError          right request, no room or no time; may succeed later
│   ├── DeviceFull             the archive can never, or cannot now, fit the memory budget
│   ├── DiskFull               no room left to unpack
│   ├── NotReady               loading or queueing takes longer than the caller may wait
│   ├── Overloaded             too many requests in flight
│   └── Draining               the server is shutting down and takes nothing new
├── BackendError           something behind the server failed
│   ├── LoadFailed             an engine refused or crashed while loading
│   ├── InferenceFailed        the model itself answered with an error
│   ├── EngineLost             the process that executes steps died under the request
│   ├── DeadlineExceeded       the request ran out of its time
│   └── StoreUnavailable       the store did not answer
└── Bug                    an invariant of ours broke

Exceptions carry facts; `api/errors.py` alone turns them into statuses and headers.
"""


class RoundhouseError(Exception):
    """Base of every failure that reaches a surface. `str(error)` is safe to show to a caller."""


class ClientError(RoundhouseError):
    """The request or the archive is wrong."""


class InvalidRequest(ClientError):
    """The payload does not decode, or does not fit the model's inputs."""


class InvalidHeader(ClientError):
    """A header of the surface has a value that it may not have."""


class WrongTarget(ClientError):
    """The request names no archive, or two different ones."""


class PayloadTooLarge(ClientError):
    """A body over the limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the request body is larger than the limit of {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class UnsupportedMediaType(ClientError):
    """No codec reads this Content-Type for this model."""


class NotAcceptable(ClientError):
    """No codec writes the answer as Accept asks for it."""


class ArchiveNotFound(ClientError):
    """No source has an archive of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"archive {name!r} was not found")
        self.name = name


class NotLoaded(ClientError):
    """The explicitly managed model id is not loaded."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model {name!r} is not loaded")
        self.name = name


class AlreadyLoaded(ClientError):
    """LOAD of an id that is already loaded, or is being loaded."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model {name!r} is already loaded")
        self.name = name


class InvalidArchive(ClientError):
    """The archive is corrupt, hostile, or not a Triton model repository."""


class ForbiddenPath(ClientError):
    """A folder outside the place where archives may be loaded from."""


class UnsupportedModel(ClientError):
    """The archive asks for a backend or a feature that this engine does not have."""


class UnsupportedOperation(ClientError):
    """The server, as it was set up, cannot do what it was asked for."""


class CapacityError(RoundhouseError):
    """The request is right; room or time is missing."""


class DeviceFull(CapacityError):
    """The archive does not fit the memory budget of its device.

    `needed_bytes` and `budget_bytes` are 0 where an engine ran out of memory without telling how much it wanted.
    `said` are the words with which the model or its runtime told it, if they did.
    """

    def __init__(self, name: str, device: str, needed_bytes: int = 0, budget_bytes: int = 0, said: str = "") -> None:
        figures = f": it needs {needed_bytes} bytes of a budget of {budget_bytes}" if needed_bytes else ""
        words = f": {said}" if said else ""
        super().__init__(f"archive {name!r} does not fit on device {device!r}{figures}{words}")
        self.name = name
        self.device = device
        self.needed_bytes = needed_bytes
        self.budget_bytes = budget_bytes
        self.said = said


class DiskFull(CapacityError):
    """No room left to fetch or unpack an archive.

    `missing_bytes`: how much less would have to be in use, where that is known; 0 where it is not. `is_hopeless`: it
    would not fit an empty disk cache either.
    """

    def __init__(self, said: str, missing_bytes: int = 0, *, is_hopeless: bool = False) -> None:
        super().__init__(said)
        self.missing_bytes = missing_bytes
        self.is_hopeless = is_hopeless


class NotReady(CapacityError):
    """Loading or queueing would take longer than the caller may wait."""

    def __init__(self, name: str, retry_after_s: float) -> None:
        super().__init__(f"archive {name!r} is not ready yet; try again in {retry_after_s:.0f} s")
        self.name = name
        self.retry_after_s = retry_after_s


class Overloaded(CapacityError):
    """Too many requests are in flight, or too many of something else (`what`)."""

    def __init__(self, limit: int, retry_after_s: float = 1.0, what: str = "requests are in flight") -> None:
        super().__init__(f"more than {limit} {what}; try again in {retry_after_s:.0f} s")
        self.limit = limit
        self.retry_after_s = retry_after_s


class Draining(CapacityError):
    """The server is shutting down and takes nothing new; another one, or a restart, can serve the request."""

    def __init__(self, retry_after_s: float = 5.0) -> None:
        super().__init__("the server is shutting down; try again")
        self.retry_after_s = retry_after_s


class BackendError(RoundhouseError):
    """Something behind the server failed."""


class LoadFailed(BackendError):
    """An engine refused or crashed while loading a step."""


class InferenceFailed(BackendError):
    """The model itself answered with an error."""


class EngineLost(BackendError):
    """The process that executes steps died under the request."""


class DeadlineExceeded(BackendError):
    """The request ran out of its time."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"the request did not finish within {timeout_s:g} s")
        self.timeout_s = timeout_s


class StoreUnavailable(BackendError):
    """The store did not answer, or answered with an error that may pass."""


class Bug(RoundhouseError):
    """An invariant broke. This is a bug."""

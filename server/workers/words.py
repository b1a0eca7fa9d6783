"""What the home process and a worker say to each other. Pure.

Times are seconds of the machine's monotonic clock, which all its processes share. A lease is named by a number that is
never used twice in the life of a worker. An *address* is how requests ask for an archive: `(path, target)`.

    home                                worker
     |  Welcome --------------->          |  how to serve
     |  <---------------- Ready           |  it accepts connections
     |  <---------------- Wants           |  it passed on a request for that address, which was answered with 200
     |  Granted --------------->          |  a lease, good until a time; or one more address of one that it holds
     |  Denied ---------------->          |  do not ask for that again for a while
     |  Renewed --------------->          |  good for longer: asked by nobody, sent ahead of time
     |  <---------------- Report          |  uses since the last one
     |  Called ---------------->          |  no new uses from now on
     |  <---------------- Stopped         |  understood; what runs goes on
     |  <---------------- Returned        |  nobody uses it any more. Also without a call, where there was no use for it
     |  Leave ----------------->          |  close the port, and end
"""

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import orjson

from server.domain.errors import Bug

Address: TypeAlias = tuple[str, str]
"""A request's path (percent-decoded) and its TargetModel header ("" where absent; latin-1)."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """How to serve. `settings` is the JSON of those that a worker needs; `relay` where to pass requests on."""

    settings: str
    relay: str
    notes_arrivals: bool
    """Whether an access log is kept."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker accepts connections."""


@dataclass(frozen=True, slots=True)
class Wants:
    """Leases that the worker would have had a use for."""

    addresses: list[Address]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an archive's entry model can be asked: tritonserver's HTTP port on loopback, its name and device there.

    `names`: what authors call the archive's steps, by their names in Triton, for error messages.
    """

    port: int
    model: str
    device: str
    names: dict[str, str]


@dataclass(frozen=True, slots=True)
class Granted:
    """A lease, and an address that asks for it. `archive` (`described.py`) and `place` are `None` where it is known."""

    lease: int
    address: Address
    until: float
    archive: dict[str, Any] | None = None
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """What the address asks for is nothing for workers. `until`: when to ask again."""

    address: Address
    until: float


@dataclass(frozen=True, slots=True)
class Renewed:
    """These leases are good until then."""

    leases: list[int]
    until: float


@dataclass(frozen=True, slots=True)
class Called:
    """These leases have to come back."""

    leases: list[int]


@dataclass(frozen=True, slots=True)
class Stopped:
    """No request uses these leases that has not begun already."""

    leases: list[int]


@dataclass(frozen=True, slots=True)
class Returned:
    """No request uses these leases, and none will."""

    leases: list[int]


@dataclass(slots=True)
class Uses:
    """What a worker did with one lease since its last report. Seconds, added up over `count` answers.

    `arrivals`: when each request came (wall clock), answered or not; empty where no access log is kept.
    """

    lease: int
    count: int = 0
    infer_s: float = 0.0
    overhead_s: float = 0.0
    errors: int = 0
    last_used: float = 0.0
    arrivals: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """Uses since the last report, the leases that are in use now, and batches that ran: rows, and waits in seconds."""

    uses: list[Uses]
    running: list[int]
    in_flight: int
    """Requests that the worker is answering by itself right now."""
    batches: list[tuple[int, list[float]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Leave:
    """End."""


Word: TypeAlias = Welcome | Ready | Wants | Granted | Denied | Renewed | Called | Stopped | Returned | Report | Leave
_WORDS: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (Welcome, Ready, Wants, Granted, Denied, Renewed, Called, Stopped, Returned, Report, Leave)
}


def written(word: Word) -> bytes:
    """A word as JSON."""
    return orjson.dumps([type(word).__name__, word])


def read(text: bytes) -> Word:
    """The inverse of `written`. Raises Bug for what is no word."""
    try:
        name, said = orjson.loads(text)
        return _typed(_WORDS[name], said)
    except (ValueError, KeyError, TypeError) as error:
        raise Bug(f"a worker and its home do not understand each other: {text[:80]!r}. This is a bug.") from error


def _typed(kind: type[Any], said: dict[str, Any]) -> Word:
    if "address" in said:
        said["address"] = tuple(said["address"])
    if said.get("place") is not None:
        said["place"] = Place(**said["place"])
    if kind is Wants:
        said["addresses"] = [tuple(each) for each in said["addresses"]]
    if kind is Report:
        said["uses"] = [Uses(**each) for each in said["uses"]]
        said["batches"] = [tuple(each) for each in said["batches"]]
    word: Word = kind(**said)
    return word

"""Serves an archive with other settings and puts load on it. Everything lies in a temporary folder of its own."""

import http.client
import json
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, sleep
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.load.processes import ROUNDHOUSE, put, serving
from benchmarks.tuning.judging import Curve, Point
from benchmarks.tuning.payload import Payload
from benchmarks.tuning.space import Choice

_ANSWERS: Final = 5
"""A load lasts at least so many times as long as one answer."""
_WARM_ANSWERS: Final = 250
"""After some two hundred executions the embedded engine packs a step's weights (docs/batching.md): that is part of
getting warm."""
_MOST_WARM_S: Final = 10.0
_SETTLE_S: Final = 1.5
"""What packing takes."""
_ERROR_CHARACTERS: Final = 400


class TuningFailedError(RuntimeError):
    """The archive cannot be read, or does not answer. The message says why."""


def facts_of(archive: Path) -> dict[str, Any]:
    """What can be set in an archive, and what it takes. Raises TuningFailedError."""
    return dict(json.loads(_build_settings(str(archive), "--json")))


def write(variant: "Variant", choice: Choice, to: Path) -> None:
    """Write an archive with the choice's settings of its steps. Raises TuningFailedError."""
    _build_settings(str(variant.path), *_sets(_settings(choice, variant.facts["steps"])), "-o", str(to))


@dataclass(frozen=True, slots=True)
class Variant:
    """An archive, and what `facts_of` says of it."""

    path: Path
    facts: Mapping[str, Any]


@dataclass
class Bench:
    """Measures choices. A context: on the way out servers end and files go, whatever happened.

    `variants`: the archives that a choice may take, by name; "" is the one that is tuned. `levels`: the concurrencies
    of a curve. `flags`: further ones of `roundhouse serve`. `tell` hears of each curve before it is measured.
    """

    variants: Mapping[str, Variant]
    payload: Payload
    levels: Sequence[int]
    seconds: float
    flags: Sequence[str] = ()
    tell: Callable[[str], None] = lambda _: None
    failures: dict[Choice, str] = field(default_factory=dict)
    """Why choices could not be measured."""
    _ports: dict[tuple[tuple[str, str], ...], int] = field(default_factory=dict)
    _names: dict[Choice, str] = field(default_factory=dict)
    _warm: dict[tuple[int, str], float] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        try:
            self._root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="roundhouse-tune-")))
            (self._root / "store").mkdir()
            for name, variant in self.variants.items():
                _build_settings(str(variant.path), "-o", str(self._source(name)))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def measure(self, choices: Sequence[Choice]) -> list[Curve | None]:
        """A curve for each, level by level side by side; None for one that fails."""
        places = [self._place(choice) for choice in choices]
        points: list[list[Point] | None] = [[] if place is not None else None for place in places]
        for level in self.levels:
            for index, (choice, place) in enumerate(zip(choices, places, strict=True)):
                known = points[index]
                if place is None or known is None:
                    continue
                self.tell(f"{choice} at concurrency {level}")
                point = self._point(place, level)
                if point is None:
                    points[index] = None
                    self.failures[choice] = f"requests failed at concurrency {level}"
                else:
                    known.append(point)
        return [tuple(each) if each is not None else None for each in points]

    def first_answer(self, choice: Choice) -> float:
        """Seconds that one request takes when everything is loaded. Raises TuningFailedError with what was said."""
        name, port = self._name(choice), self._port(choice)
        return self._warmed(port, name)

    def _place(self, choice: Choice) -> tuple[int, str] | None:
        """Port and name under which the choice answers; None where it does not."""
        try:
            name, port = self._name(choice), self._port(choice)
            self._warmed(port, name)
        except TuningFailedError as error:
            self.failures[choice] = str(error)
            return None
        return port, name

    def _point(self, place: tuple[int, str], level: int) -> Point | None:
        port, name = place
        seconds = max(self.seconds, _ANSWERS * self._warm[place])
        found = put(self.payload.load(port, name, level, seconds))
        if found.failed:
            return None
        return Point(level, found.requests_per_s, found.p50_ms, found.p99_ms)

    def _source(self, name: str) -> Path:
        return self._root / "store" / (f"other-{list(self.variants).index(name)}" if name else "baseline")

    def _name(self, choice: Choice) -> str:
        """The archive in the store that has the choice's settings."""
        if choice not in self._names:
            source = self._source(choice.archive)
            settings = _settings(choice, self.variants[choice.archive].facts["steps"])
            target = source
            if settings:
                target = self._root / "store" / f"choice-{len(self._names)}"
                _build_settings(str(source), *_sets(settings), "-o", str(target))
            self._names[choice] = target.name
        return self._names[choice]

    def _port(self, choice: Choice) -> int:
        """The server that has the choice's flags, started when it is first asked for."""
        asked = tuple(sorted(choice.of_server().items()))
        if asked not in self._ports:
            flags = [word for name, value in asked for word in (f"--{name}", value)]
            cache = self._root / f"cache-{len(self._ports)}"
            server = serving(self._root / "store", "--cache-dir", str(cache), *self.flags, *flags)
            try:
                self._ports[asked] = self._stack.enter_context(server)
            except RuntimeError as error:
                raise TuningFailedError(str(error)[-_ERROR_CHARACTERS:]) from error
        return self._ports[asked]

    def _warmed(self, port: int, name: str) -> float:
        if (port, name) not in self._warm:
            _ask(port, name, self.payload)  # loads it
            begin = perf_counter()
            _ask(port, name, self.payload)
            took = perf_counter() - begin
            put(self.payload.load(port, name, 1, min(_MOST_WARM_S, _WARM_ANSWERS * took)))
            sleep(min(_SETTLE_S, _WARM_ANSWERS * took))
            put(self.payload.load(port, name, max(self.levels), min(_SETTLE_S, _WARM_ANSWERS * took)))
            self._warm[port, name] = took
        return self._warm[port, name]


def _ask(port: int, archive: str, payload: Payload) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        headers = {**payload.headers, "x-amzn-sagemaker-target-model": archive}
        connection.request("POST", "/invocations", payload.bodies[0], headers)
        reply = connection.getresponse()
        said = reply.read()
    except OSError as error:
        raise TuningFailedError(f"the server does not answer: {error}") from error
    finally:
        connection.close()
    if reply.status != http.HTTPStatus.OK:
        raise TuningFailedError(f"answered {reply.status}: {said[:_ERROR_CHARACTERS].decode(errors='replace')}")


def _settings(choice: Choice, steps: Collection[str]) -> dict[str, str]:
    """What the choice sets in an archive of these steps: variants of a model need not have them all."""
    return {place: value for place, value in choice.of_steps().items() if place.rpartition(".")[0] in steps}


def _sets(settings: Mapping[str, str]) -> list[str]:
    return [word for place, value in settings.items() for word in ("--set", f"{place}={value}")]


def _build_settings(*arguments: str) -> str:
    done = subprocess.run(
        [str(ROUNDHOUSE), "build", "settings", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise TuningFailedError(done.stderr.strip().removeprefix("Error: ")[-_ERROR_CHARACTERS:])
    return done.stdout

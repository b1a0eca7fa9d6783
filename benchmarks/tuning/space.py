"""What can be tuned of an archive on a host, and which values are worth a try. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

ARCHIVE: Final = "archive"
"""The knob that chooses among archives: precision variants of one model."""
SERVE: Final = "serve."
"""How knobs begin that are flags of `roundhouse serve`."""
BATCHING: Final = SERVE + "batching"
DELAYS_US: Final = ("0", "1000", "5000")
"""The last one is half of what a text model takes for one answer: longer, and waiting is most of the latency."""
_MOST_INSTANCES: Final = 4


@dataclass(frozen=True, slots=True)
class Knob:
    """Something that can be set: `STEP.SETTING`, `serve.FLAG`, or `archive`.

    `now`: its value in the archive as it is; "" where that leaves it to the server. `others`: what to try.
    """

    name: str
    now: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Values of the knobs that are not as they were, by name. The empty one is the baseline."""

    values: tuple[tuple[str, str], ...] = ()

    def get(self, knob: Knob) -> str:
        """The knob's value."""
        return dict(self.values).get(knob.name, knob.now)

    def turned(self, knob: Knob, value: str) -> "Choice":
        """The choice with one knob turned."""
        rest = {name: each for name, each in self.values if name != knob.name}
        if value != knob.now:
            rest[knob.name] = value
        return Choice(tuple(sorted(rest.items())))

    @property
    def archive(self) -> str:
        """Which archive it takes; "" for the one that is tuned."""
        return dict(self.values).get(ARCHIVE, "")

    def of_steps(self) -> dict[str, str]:
        """What `roundhouse build settings` has to set: `STEP.SETTING` -> value."""
        return {name: value for name, value in self.values if name != ARCHIVE and not name.startswith(SERVE)}

    def of_server(self) -> dict[str, str]:
        """Flags of `roundhouse serve` without their dashes -> value."""
        return {name.removeprefix(SERVE): value for name, value in self.values if name.startswith(SERVE)}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value or 'unset'}" for name, value in self.values) or "as it is"


BASELINE: Final = Choice()


def knobs(facts: Mapping[str, Any], cores: int, others: Sequence[str] = ()) -> tuple[Knob, ...]:
    """What to turn, in the order in which it matters most.

    `facts` is what `roundhouse build settings --json` says of the archive, `others` are further archives to choose
    from, `cores` those that the server may use.
    """
    found = [Knob(ARCHIVE, "", tuple(others))] if others else []
    if facts["max_batch_size"] > 1 and not facts["is_decoupled"]:
        found.append(Knob(BATCHING, "auto", ("off",)))
    steps: Mapping[str, Any] = facts["steps"]
    for name in ("threads", "instances", "preferred", "delay_us"):
        for step, each in steps.items():
            if name in each["settings"]:
                now = each["settings"][name]
                tried = _values(name, each["backend"], cores, facts["max_batch_size"])
                found.append(Knob(f"{step}.{name}", now, tuple(value for value in tried if value != now)))
    return tuple(knob for knob in found if knob.others)


def _values(name: str, backend: str, cores: int, most_rows: int) -> Iterator[str]:
    if name == "threads":
        yield from _powers(cores)
    elif name == "instances":
        # ONNX sessions on a CPU are shared by all who run at the same time: there are as many executions as cores.
        yield from () if backend == "onnxruntime" else _powers(min(cores, _MOST_INSTANCES))
    elif name == "preferred":
        yield ""
        yield from (str(size) for size in (8, 16, 32) if size <= most_rows)
    else:
        yield from DELAYS_US


def _powers(most: int) -> Iterator[str]:
    """1, 2, 4, ... up to `most`, and `most`."""
    value = 1
    while value < most:
        yield str(value)
        value *= 2
    yield str(most)

"""Ports that a server opens besides its first one. Pure."""

from collections.abc import Mapping


def port_range(text: str) -> range:
    """Read `a-b`, both ends included. Raises ValueError."""
    low, has_dash, high = text.partition("-")
    if not (has_dash and low.strip().isdecimal() and high.strip().isdecimal()):
        raise ValueError(f"{text!r} is not a range of ports; write it as 20000-30000")
    ports = range(int(low), int(high) + 1)
    if not ports or ports[0] < 1 or ports[-1] > 65535:
        raise ValueError(f"{text!r} is not a range of ports; the first of 1 to 65535 comes first")
    return ports


def require_apart(port: int, others: Mapping[str, int | None], safe: range | None) -> None:
    """Check the ports in `others`, by setting, against each other, the first `port` and the safe range.

    The first port is the platform's own choice, so it need not be in the range.

    Raises:
        ValueError: which setting is wrong.
    """
    taken = {port: "port"} if port else {}
    for name, other in others.items():
        if other is None:
            continue
        if safe is not None and other not in safe:
            raise ValueError(
                f"{name} {other} is outside safe_port_range {safe[0]}-{safe[-1]}; choose one inside, or leave it out"
            )
        if other in taken:
            raise ValueError(f"{name} {other} is taken by {taken[other]} already")
        taken[other] = name

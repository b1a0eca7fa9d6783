"""What people say about archives while the server runs, as rules of the planner: orders, pins, terms, time to live."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from server.residency.planning import events as e
from server.residency.planning.house import House
from server.residency.planning.states import ArchiveState
from server.residency.planning.terms import Wish


def ordered(house: House, event: e.Ordered) -> None:
    """Content is to be loaded for a caller who comes back. At most so many at once: more push each other out."""
    key = event.archive.key
    is_known = key in house.inventory.archives or house.failures.recall(key, event.at) is not None
    if house.is_closed or is_known or len(house.waiting.orders) >= house.options.max_orders:
        return
    house.asked.add(event.archive.name)
    house.waiting.order(event.archive, event.until)


def void_late_orders(house: House) -> bool:
    """What was ordered and found no room in time is not loaded any more. Returns whether there was anything."""
    late = house.waiting.expire(house.at) if house.waiting.orders else ()
    for key in late:
        unwanted(house, key)
    return bool(late)


def unwanted(house: House, key: str) -> None:
    """Nobody wants this content any more. A load that is under way goes on, unless others had to leave for it."""
    record = house.inventory.archives.get(key)
    if record is not None and record.state is ArchiveState.LOADING and record.is_stalled:
        house.drop(record)


def pinned(house: House, event: e.Pinned) -> None:
    """Never a victim from now on."""
    house.pins.add(event.name)


def unpinned(house: House, event: e.Unpinned) -> None:
    """A victim again, even where the settings pin it."""
    house.pins.discard(event.name)
    if house.terms.of(event.name).is_pinned:
        _say(house, event.name, Wish(is_pinned=False))


def terms_said(house: House, event: e.TermsSaid) -> None:
    """Other terms from now on, for what is resident too."""
    _say(house, event.name, event.wish)


def time_passed(house: House, event: e.TimePassed) -> None:
    """What nobody used for its time to live is let go."""
    for record in house.inventory.in_state(ArchiveState.RESIDENT):
        ttl = record.terms.time_to_live_s
        is_due = ttl is not None and record.last_used + ttl <= event.at
        if is_due and not record.leases and not house.is_pinned(record):
            house.let_go(record, "idle for longer than its time to live")


def _say(house: House, name: str, wish: Wish) -> None:
    house.terms.say(name, wish)
    for record in house.inventory.named(name):
        record.terms = house.terms.of(name)


RULES: Final[Mapping[type[Any], Callable[[House, Any], None]]] = {
    e.Ordered: ordered,
    e.Pinned: pinned,
    e.Unpinned: unpinned,
    e.TermsSaid: terms_said,
    e.TimePassed: time_passed,
}

"""What an operator says about archives, apart from the policy: group, priority, quota, time to live, pin.

The group (tenant) of an archive is its name up to the first `/`; names without one belong to the group "". What holds
for an archive is put together from the defaults, the entry of its group, the entries for archives that match its name,
and what was said while the server runs; of these the later word counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Final

from server.domain.model import Device
from server.residency.planning.ledger import Room

MOST_REMEMBERED: Final = 20_000
EVERY_OTHER: Final = "*"
"""The group entry for every group that has a name and no entry of its own."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one archive."""

    group: str = ""
    priority: int = 0
    """An archive never leaves for one of lower priority while another victim exists."""
    time_to_live_s: float | None = None
    """Seconds without use after which it is unloaded; `None`: only when room is needed."""
    is_pinned: bool = False


ORDINARY: Final = Terms()


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody says about an archive; `None` says nothing."""

    priority: int | None = None
    time_to_live_s: float | None = None
    is_pinned: bool | None = None

    def added_to(self, terms: Terms) -> Terms:
        """The terms, with what this says in place of what they said."""
        return replace(
            terms,
            priority=terms.priority if self.priority is None else self.priority,
            time_to_live_s=terms.time_to_live_s if self.time_to_live_s is None else self.time_to_live_s,
            is_pinned=terms.is_pinned if self.is_pinned is None else self.is_pinned,
        )


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """A wish for all archives whose name matches: a name, or a pattern with `*` (`/` too), `?` and `[...]`."""

    match: str
    wish: Wish


@dataclass(frozen=True, slots=True)
class GroupEntry:
    """A group's priority and quota. `quota_bytes`, or `quota_share` of the budget, holds on each device by itself."""

    name: str
    priority: int | None = None
    quota_bytes: int | None = None
    quota_share: float | None = None

    def limits(self, budgets: Mapping[Device, int]) -> Room | None:
        """Bytes that the group may take on each device; `None` where it has no quota."""
        if self.quota_bytes is None and self.quota_share is None:
            return None
        most = budgets if self.quota_bytes is None else dict.fromkeys(budgets, self.quota_bytes)
        share = 1.0 if self.quota_share is None else self.quota_share
        return {device: min(most[device], int(share * budget)) for device, budget in budgets.items()}


@dataclass(frozen=True)
class Tariff:
    """All entries, as they were configured."""

    archives: Sequence[ArchiveEntry] = ()
    groups: Sequence[GroupEntry] = ()
    time_to_live_s: float | None = None

    def entry_of(self, group: str) -> GroupEntry | None:
        """The entry that holds for a group. There may be thousands."""
        return self._by_group.get(group) or (self._by_group.get(EVERY_OTHER) if group else None)

    @cached_property
    def _by_group(self) -> Mapping[str, GroupEntry]:
        return {entry.name: entry for entry in reversed(self.groups)}

    def terms_of(self, name: str) -> Terms:
        """What holds for the archive as long as nobody says otherwise."""
        group = group_of(name)
        entry = self.entry_of(group)
        priority = entry.priority if entry is not None and entry.priority is not None else 0
        terms = Terms(group, priority, self.time_to_live_s)
        for each in self.archives:
            if fnmatchcase(name, each.match):
                terms = each.wish.added_to(terms)
        return terms


@dataclass(slots=True)
class TermsBook:
    """Answers quickly, and remembers what was said since the start."""

    tariff: Tariff
    _known: dict[str, Terms] = field(default_factory=dict)
    _said: dict[str, Wish] = field(default_factory=dict)

    def of(self, name: str) -> Terms:
        """What holds for the archive."""
        terms = self._known.get(name)
        if terms is None:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            terms = self._said.get(name, Wish()).added_to(self.tariff.terms_of(name))
            self._known[name] = terms
        return terms

    def say(self, name: str, wish: Wish) -> None:
        """From now on this holds for the archive, and what was said before where this says nothing."""
        before = self._said.get(name, Wish())
        self._said[name] = Wish(
            priority=before.priority if wish.priority is None else wish.priority,
            time_to_live_s=before.time_to_live_s if wish.time_to_live_s is None else wish.time_to_live_s,
            is_pinned=before.is_pinned if wish.is_pinned is None else wish.is_pinned,
        )
        self._known.pop(name, None)

    def limits(self, group: str, budgets: Mapping[Device, int]) -> Room | None:
        """The group's quota, in bytes per device; `None` where it has none."""
        entry = self.tariff.entry_of(group) if self.tariff.groups else None
        return entry.limits(budgets) if entry is not None else None


def group_of(name: str) -> str:
    """The tenant whose archive this is."""
    group, slash, _ = name.partition("/")
    return group if slash else ""

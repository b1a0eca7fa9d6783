"""What is said about groups of archives, and about some archives only.

In the TOML file these are tables: `[[groups]]` (`name = "acme"`, `quota = "25%"`, `priority = 1`) and `[[archives]]`
(`match = "acme/chat-*"`, `ttl_s = 600`, `pin = true`). Elsewhere they are short texts: `acme:quota=25%,priority=1`.
"""

from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PositiveFloat,
    TypeAdapter,
    model_validator,
)

from server.residency.planning.terms import ArchiveEntry, GroupEntry, Tariff, Wish

_BYTES: TypeAdapter[int] = TypeAdapter(Annotated[ByteSize, Field(gt=0)])


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArchiveTable(_Table):
    """What holds for archives whose name matches `match`, a name or a pattern."""

    match: Annotated[str, Field(min_length=1)]
    priority: int | None = None
    ttl_s: PositiveFloat | None = None
    pin: bool | None = None

    def entry(self) -> ArchiveEntry:
        """The same for residency."""
        return ArchiveEntry(self.match, Wish(self.priority, self.ttl_s, self.pin))


class GroupTable(_Table):
    """What holds for the archives below `name/`; `*` for every group without an entry of its own."""

    name: str
    priority: int | None = None
    quota: Annotated[str, BeforeValidator(str)] | None = None
    """`4GiB` or `25%`, on each device."""

    @model_validator(mode="after")
    def _quota_can_be_read(self) -> Self:
        self.entry()
        return self

    def entry(self) -> GroupEntry:
        """The same for residency. Raises ValueError: the quota is neither bytes nor a share."""
        if self.quota is None:
            return GroupEntry(self.name, self.priority)
        if not self.quota.endswith("%"):
            return GroupEntry(self.name, self.priority, quota_bytes=_BYTES.validate_python(self.quota))
        try:
            share = float(self.quota.removesuffix("%")) / 100
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise ValueError(f"a quota is bytes (4GiB) or a share of the budget (25%), got {self.quota!r}")
        return GroupEntry(self.name, self.priority, quota_share=share)


def tables(key: str) -> BeforeValidator:
    """Read `KEY:field=value,...` texts (several of them with blanks between) as tables."""

    def read(value: object) -> object:
        entries = value.split() if isinstance(value, str) else value
        if not isinstance(entries, list | tuple):
            return entries
        return tuple(_table(key, each) if isinstance(each, str) else each for each in entries)

    return BeforeValidator(read)


def tariff(archives: tuple[ArchiveTable, ...], groups: tuple[GroupTable, ...]) -> Tariff:
    """All of it for residency."""
    return Tariff(tuple(each.entry() for each in archives), tuple(each.entry() for each in groups))


def _table(key: str, text: str) -> dict[str, str]:
    name, _, said = text.rpartition(":")
    pairs = [pair.partition("=") for pair in said.split(",") if pair]
    return {key: name, **{field.strip(): value.strip() for field, _, value in pairs}}

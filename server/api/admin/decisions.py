"""Why archives left memory, and whether that was right."""

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from server.api.parts import Parts


class _Shown(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Considered(_Shown):
    """An archive as the policy saw it at that moment."""

    archive: str
    version: str
    value: float
    """What the policy gave for it; each policy has its own unit, the lowest leaves first."""
    idle_s: float
    bytes: int
    leases: int
    is_pinned: bool
    is_guarded: bool
    """Loaded so recently that others had to leave first."""
    was_chosen: bool


class Regret(_Shown):
    """The same content came back."""

    at: float
    """Seconds since the epoch."""
    after_s: float
    load_s: float
    """What its return took, from the beginning of the load to the last step."""
    unused_instead: list[str]
    """Archives that were considered, stayed, and were not used until then: with hindsight the better victims."""


class Decision(_Shown):
    """One departure."""

    at: float
    """Seconds since the epoch."""
    archive: str
    version: str
    reason: str
    """`room`, `over budget`, `out of memory`, `idle for longer than ...`, `replaced by new content`, ..."""
    for_whom: Annotated[str | None, Field(alias="for")]
    """The archive that needed the room."""
    missing_bytes: dict[str, int]
    """By device."""
    bytes: int
    uses: int
    """Requests that it served since it was loaded."""
    judgement: str
    """What the policy thought of it, in words."""
    idle_s: float
    load_s: float
    """Seconds of loading that were thrown away: of the steps that no other archive held."""
    regret: Regret | None
    """null: it has not come back."""
    considered: list[Considered]
    """The least valuable first, then what is pinned."""


class Summary(_Shown):
    """Over all departures on record (of the archive that was asked for), whatever the limit."""

    departures: int
    load_s_thrown_away: float
    came_back: int
    load_s_of_returns: float
    with_a_better_choice: int
    """Returns at which another archive had been considered and not used since."""


class Departures(_Shown):
    """The answer."""

    summary: Summary
    decisions: list[Decision]
    """Newest first."""


_DOCUMENTED: Final[dict[int | str, dict[str, Any]]] = {200: {"model": Departures, "description": "Newest first"}}


def router(parts: Parts) -> APIRouter:
    """Build the route."""
    routes = APIRouter(tags=["Admin"])

    @routes.get(
        "/admin/residency/decisions",
        summary="Why archives left: what else was considered, what it cost, whether they came back",
        responses=_DOCUMENTED,
    )
    async def decisions(
        archive: Annotated[str | None, Query(description="Only this archive's")] = None,
        limit: Annotated[NonNegativeInt, Query(description="At most so many decisions")] = 100,
    ) -> Response:
        # By orjson, as /admin/residency: the models above are the documentation, not the encoder.
        return Response(orjson.dumps(parts.residency.decisions(archive, limit)), media_type="application/json")

    return routes

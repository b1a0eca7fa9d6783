"""The response cache's figures as metrics, from what an engine says about itself."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from server.telemetry.metrics import Level

_LEVELS: Final = (
    ("roundhouse_response_cache_hits", "Requests of steps answered from the response cache, since the start", "hits"),
    ("roundhouse_response_cache_misses", "Requests of steps that it could not answer, since the start", "misses"),
    ("roundhouse_response_cache_evictions", "Answers that left it for others, since the start", "evictions"),
    ("roundhouse_response_cache_entries", "Answers in it", "entries"),
    ("roundhouse_response_cache_bytes", "Bytes that they take", "bytes"),
    ("roundhouse_response_cache_budget_bytes", "Bytes that they may take", "budget_bytes"),
)


def response_cache_levels(facts: Callable[[], Mapping[str, object]]) -> Callable[[], Iterator[Level]]:
    """Make what `Metrics.watch` takes. `facts` is an engine's `describe`: no cache in it, no metrics."""

    def levels() -> Iterator[Level]:
        figures = facts().get("response_cache")
        if isinstance(figures, Mapping):
            for name, text, key in _LEVELS:
                yield Level(name, text, float(figures[key]))

    return levels

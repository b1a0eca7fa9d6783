"""From which tier archives were served, the host tier and the guesses, on the Prometheus page and for /admin."""

import pytest

from server.domain.model import CPU
from server.telemetry.metrics import Metrics
from server.telemetry.residency_metrics import ResidencyMetrics
from server.telemetry.tier_metrics import tier_families, tier_figures


class Host:
    def usage(self):
        return {"used_bytes": 7, "budget_bytes": 9, "steps": 2, "hits": 3, "misses": 4, "evictions": 5}


class Guesses:
    def figures(self):
        return {"reasons": {"regular": {"prefetched": 8, "used": 6, "wasted": 1, "wasted_bytes": 50}}}


@pytest.fixture
def told():
    told = ResidencyMetrics(Metrics())
    told.hit("a")
    told.hit("a")
    for warmth in ("host", "disk", "host"):
        told.miss("a", warmth)
    return told


def page(*parts):
    metrics = Metrics()
    metrics.also(tier_families(*parts))
    return metrics.page()[0].decode().splitlines()


def test_leases_are_counted_by_how_far_the_content_came(told):
    lines = page(told, None, None)
    assert 'roundhouse_leases_total{warmth="resident"} 2.0' in lines
    assert 'roundhouse_leases_total{warmth="host"} 2.0' in lines
    assert 'roundhouse_leases_total{warmth="store"} 0.0' in lines
    assert not any("host_tier" in line or "prefetch" in line for line in lines)


def test_the_host_tier_and_guesses_are_on_the_page_where_they_are_on(told):
    lines = page(told, Host(), Guesses())
    assert "roundhouse_host_tier_bytes 7" in "\n".join(lines)
    assert "roundhouse_host_tier_hits_total 3.0" in lines
    assert 'roundhouse_prefetch_used_total{reason="regular"} 6.0' in lines
    assert 'roundhouse_prefetch_wasted_bytes_total{reason="regular"} 50.0' in lines


def test_admin_shows_what_is_off_too(told):
    assert tier_figures(told, None, None) == {
        "served_from": {"resident": 2, "shared": 0, "host": 2, "disk": 1, "store": 0},
        "host_tier": None,
        "prefetch": None,
    }
    assert tier_figures(told, Host(), Guesses())["host_tier"]["hits"] == 3


def test_the_charge_of_a_device_is_known(told):
    assert told.charged_bytes(CPU) == 0
    told.charged(CPU, 12, 100)
    assert told.charged_bytes(CPU) == 12

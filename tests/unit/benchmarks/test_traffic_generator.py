"""The generator has the statistics that it promises."""

import numpy as np
import pytest

from benchmarks.traffic.arrivals import poisson, sessions
from benchmarks.traffic.fleet import FAMILIES, asked_of, fleet
from benchmarks.traffic.hours import day, starts
from benchmarks.traffic.measured import describe, zipf_slope
from benchmarks.traffic.popularity import gentd26, zipf
from benchmarks.traffic.trace import Trace, equal, unshared

WEEK_S = 7 * 86400.0


def week(seed=1, alpha=0.9, requests=60_000, **more):
    return sessions(zipf(500, alpha), requests, WEEK_S, seed=seed, **more)


@pytest.mark.parametrize("mean", [1.0, 2.0, 4.0])
def test_sessions_have_the_asked_for_mean(mean):
    came = week(mean=mean)
    assert len(came.times) == len(came.ranks) == 60_000
    assert 60_000 / came.sessions == pytest.approx(mean, rel=0.02)


def test_a_session_asks_for_one_archive_a_minute_apart():
    came = sessions(zipf(1_000_000, 0.0), 4000, WEEK_S, seed=1)  # so many archives that no two sessions share one
    order = np.lexsort((came.times, came.ranks))
    within = came.ranks[order][1:] == came.ranks[order][:-1]
    gaps = np.diff(came.times[order])[within]
    assert np.count_nonzero(within) == pytest.approx(4000 - came.sessions, abs=10)
    assert np.median(gaps) == pytest.approx(60 * np.log(2), rel=0.1)  # an exponential's, of mean 60


@pytest.mark.parametrize("alpha", [0.9, 1.43])
def test_popularity_has_the_asked_for_zipf_exponent(alpha):
    counts = np.sort(np.bincount(week(alpha=alpha).ranks, minlength=500))[::-1]
    assert zipf_slope(counts) == pytest.approx(alpha, abs=0.03)


def test_the_day_peaks_at_nine_times_its_mean_and_sleeps_for_a_third():
    weights = day()
    assert weights.mean() == pytest.approx(1.0)
    assert weights.max() == pytest.approx(9.0)
    assert np.count_nonzero(weights == 0) == 8
    came = week()
    hourly = np.bincount((came.times // 3600 % 24).astype(int), minlength=24)
    assert hourly.max() / hourly.mean() == pytest.approx(9.0, rel=0.03)


@pytest.mark.parametrize("ratio", [1.5, 3.0, 24.0])
def test_other_days_can_be_asked_for(ratio):
    assert day(ratio).max() == pytest.approx(ratio)
    assert day(ratio).sum() == pytest.approx(24)


def test_impossible_traffic_is_refused():
    with pytest.raises(ValueError, match=r"24/16 to 24 times the mean, not 1\.2"):
        day(1.2)
    with pytest.raises(ValueError, match="at least one request"):
        week(mean=0.5)
    with pytest.raises(ValueError, match="ask for at least a day"):
        starts(np.random.default_rng(1), 10, 3600.0, day())


def test_the_last_hour_may_be_a_short_one():
    moments = starts(np.random.default_rng(1), 1000, 90_000.0, np.ones(24))
    assert moments.max() < 90_000
    assert moments.min() >= 0


def test_equal_seeds_make_equal_traffic_and_others_do_not():
    first, again, other = week(seed=3), week(seed=3), week(seed=4)
    assert np.array_equal(first.times, again.times)
    assert np.array_equal(first.ranks, again.ranks)
    assert not np.array_equal(first.times, other.times)
    assert fleet(3, 4, seed=1) == fleet(3, 4, seed=1) != fleet(3, 4, seed=2)


@pytest.mark.parametrize("came", [week(), poisson(zipf(500, 0.9), 1000, WEEK_S, seed=1)])
def test_requests_come_in_order_of_time(came):
    assert np.all(np.diff(came.times) >= 0)
    assert came.times[0] >= 0


def test_poisson_requests_are_independent_and_even():
    came = poisson(zipf(50, 0.9), 50_000, WEEK_S, seed=1)
    said = describe(Trace(came.times, came.ranks, equal(50)))
    assert said["next_is_same"] == pytest.approx(said["next_is_same_if_independent"], abs=0.005)
    assert said["hourly_peak_to_mean"] < 1.5
    assert said["empty_hours_share"] == 0


def test_the_published_popularity_is_met_at_its_points():
    shares = gentd26()
    assert shares.sum() == pytest.approx(1.0)
    assert np.all(np.diff(shares) <= 0)
    assert [round(float(shares[:top].sum()), 2) for top in (1, 50)] == [0.31, 0.99]
    assert float(shares[:10].sum()) == pytest.approx(0.867, abs=0.01)


def test_a_fleet_is_few_bases_and_many_heads():
    archives = fleet(8, 25, seed=1)
    assert len({archive.name for archive in archives}) == 200
    assert len({archive.parts[0] for archive in archives}) == 8
    assert len({archive.parts[1].digest for archive in archives}) == 200
    assert all(archive.name.startswith(f"{archive.group}/") for archive in archives)
    assert archives[0].bytes == sum(part.bytes for part in archives[0].parts)
    assert archives[0].parts[0].bytes == FAMILIES[0].base_mb * 1e6
    alone = unshared(archives)
    assert [archive.bytes for archive in alone] == [archive.bytes for archive in archives]
    assert len({part.digest for archive in alone for part in archive.parts}) == 200


def test_popular_archives_are_dealt_over_all_bases():
    archives = fleet(4, 50, seed=1)
    trace = asked_of(sessions(zipf(200, 0.9), 5000, WEEK_S, seed=1), archives, seed=1)
    favourites = np.argsort(np.bincount(trace.asked, minlength=200))[::-1][:20]
    assert len({archives[index].parts[0].digest for index in favourites}) == 4
    said = describe(trace)
    assert said["gigabytes_shared"] < said["gigabytes_unshared"]
    assert said["requests"] == 5000

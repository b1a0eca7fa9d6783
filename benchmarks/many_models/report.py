"""The figures for people: tables for the terminal, charts for the papers."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.many_models.scorecard import percents
from benchmarks.simulation.plot import Panel, svg

Row = Mapping[str, Any]


def tables(document: Row) -> Iterator[Table]:
    """One table of variants, one of cold starts by tier, one of memory, one of what each lever changes."""
    variants: Mapping[str, Row] = document["variants"]
    yield _table(
        "Served, and missed against replays of the same trace within the same budget",
        ("variant", "requests", "failed", "p50 ms", "p99 ms", "waited %", "miss %", "lru", "gdsf", "optimum", "x opt."),
        (
            (
                name,
                f"{row['requests']:,}",
                f"{row['failed']:,}",
                f"{row['latency_ms']['p50']:,.1f}",
                f"{row['latency_ms']['p99']:,.0f}",
                f"{100 * row['waited_ratio']:.1f}",
                f"{100 * row['miss_ratio']:.1f}",
                *(f"{100 * row['references']['policies'][who]['miss_ratio']:.1f}" for who in ("lru", "gdsf", "belady")),
                f"{row['distance']['misses_to_belady']:.2f}",
            )
            for name, row in variants.items()
        ),
    )
    yield _table(
        "Moved",
        ("variant", "load s", "staging s", "waited s", "bases", "archives", "fetched MB", "loaded MB"),
        (
            (
                name,
                *(f"{row['loads'][field]:,.1f}" for field in ("load_seconds", "staging_seconds", "waited_seconds")),
                *(f"{row['loads'][field]:,.0f}" for field in ("bases_loaded", "archives_loaded")),
                *(f"{row['moved_mb'].get(field, 0):,.0f}" for field in ("fetch", "load")),
            )
            for name, row in variants.items()
        ),
    )
    yield _table(
        "Load-seconds per 100 requests at unhurried costs: here, and in replays",
        ("variant", "here", "lru", "gdsf", "s3-fifo", "optimum", "floor", "x opt."),
        (_costs(name, row) for name, row in variants.items()),
    )
    yield _table(
        "First byte to last, by where the archive came from (ms from when the request was due)",
        ("variant", "tier", "requests", "p50", "p95", "p99"),
        (
            (name, tier, f"{each['count']:,}", *(f"{each[q]:,.1f}" for q in ("p50", "p95", "p99")))
            for name, row in variants.items()
            for tier, each in row["cold_start_ms_by_tier"].items()
        ),
    )
    yield _table(
        "Memory (ledger: off the process's memory, in percent of it; growth over the second half)",
        ("variant", "process MB", "charged MB", "off, median", "off, p99", "off, max", "growth MB", "unexplained MB"),
        (_memory(name, row["memory"]) for name, row in variants.items() if row["memory"]),
    )
    if document["gains"]:
        yield _table(
            "What each lever changes on the same trace, in percent",
            ("lever", "load s", "staging s", "load + staging s", "waited s", "fetched", "loaded", "moved"),
            (
                (
                    lever,
                    *(
                        f"{change[field]:+.0f}" if (field := f"{measure}_percent") in change else ""
                        for measure in (
                            "load_seconds",
                            "staging_seconds",
                            "cold_seconds",
                            "waited_seconds",
                            "mb_fetched",
                            "mb_loaded",
                            "mb_moved",
                        )
                    ),
                )
                for lever, change in document["gains"].items()
            ),
        )


def _costs(name: str, row: Row) -> tuple[str, ...]:
    against, per_100 = row["references"], "load_seconds_per_100_requests"
    return (
        name,
        f"{row['loads'][f'unhurried_{per_100}']:.2f}",
        *(f"{against['policies'][who][per_100]:.2f}" for who in ("lru", "gdsf", "s3-fifo", "belady-cost")),
        f"{against[f'floor_{per_100}']:.2f}",
        f"{row['distance']['load_seconds_to_belady_cost']:.2f}",
    )


def _memory(name: str, row: Row) -> tuple[str, ...]:
    off, grown = row["ledger_off_percent"], row["growth_second_half_mb"]
    return (
        name,
        f"{row['process_mb']['median']:,.0f}",
        f"{row['charged_mb']['median']:,.0f}",
        *(f"{off[which]:.1f}" for which in ("median", "p99", "max")),
        f"{grown['process']:+.2f}",
        f"{grown['process_less_charged']:+.2f}",
    )


def _table(title: str, columns: tuple[str, ...], rows: Any) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column in {"variant", "tier", "lever"} else "right")
    for row in rows:
        table.add_row(*row)
    return table


def charts(document: Row) -> dict[str, str]:
    """SVG by file name ending: memory over time, and how many were answered within how long."""
    variants: Mapping[str, Row] = document["variants"]
    memory = [
        Panel(
            name,
            {
                "process": list(zip(row["series"]["at_s"], row["series"]["process_mb"], strict=True)),
                "ledger": list(zip(row["series"]["at_s"], row["series"]["ledger_mb"], strict=True)),
            },
        )
        for name, row in variants.items()
    ]
    load = [
        Panel(
            name,
            {
                "due per s": list(zip(row["series"]["window_s"], row["series"]["due_per_s"], strict=True)),
                "in flight": list(zip(row["series"]["at_s"], row["series"]["in_flight"], strict=True)),
            },
        )
        for name, row in variants.items()
    ]
    latency = Panel(
        "all variants",
        {
            name: [
                (max(ms, 0.1), percent)
                for ms, percent in zip(row["series"]["latency_ms_at_percent"], percents(), strict=True)
            ]
            for name, row in variants.items()
        },
    )
    longest = max((_end(row) for row in variants.values()), default=1.0)
    times = [round(longest * step / 4) for step in range(5)]

    def over_time(title: str, y_label: str, panels: list[Panel]) -> str:
        return svg(title, ("seconds", y_label), panels, log_x=False, x_ticks=times)

    within = ("ms (logarithmic)", "% of requests")
    return {
        "memory": over_time("Memory of the process, and what the ledger accounts for", "MB", memory),
        "load": over_time("What came, and what was under way", "requests", load),
        "latency": svg("Answered within", within, [latency], x_ticks=_decades(latency)),
    }


def _end(row: Row) -> float:
    """Where a variant's time ends, in seconds."""
    return float(max(row["series"]["at_s"] + row["series"]["window_s"], default=1.0))


def _decades(panel: Panel) -> list[float]:
    values = [x for line in panel.lines.values() for x, _ in line] or [1.0]
    ticks = [0.1]
    while ticks[-1] < max(values):
        ticks.append(ticks[-1] * 10)
    return [round(tick, 1) for tick in ticks]

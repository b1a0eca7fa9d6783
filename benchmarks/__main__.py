"""`python -m benchmarks [SCENARIO]`: run a scenario, print a table, write benchmarks/results/SCENARIO.json."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.environment import environment
from benchmarks.scenarios import cold_start, front_end, single_model

SCENARIOS = {"cold_start": cold_start, "front_end": front_end, "single_model": single_model}
RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str]) -> None:
    """Run the named scenarios, or all."""
    console = Console()
    for name in arguments or SCENARIOS:
        if name not in SCENARIOS:
            raise SystemExit(f"{name!r} is not a scenario; there are: {', '.join(SCENARIOS)}")
        scenario = SCENARIOS[name]
        console.print(f"[bold]{name}[/bold]: {(scenario.__doc__ or '').splitlines()[0]}")
        result = scenario.run()
        result["environment"] = environment()
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
        for model in ("trivial", "minilm"):
            if model in result:
                console.print(_table(model, result[model]))
        if "bare_limit" in result:
            console.print(_limits(result))
        if name == "cold_start":
            for table in cold_start.tables(result):
                console.print(table)
        console.print(f"written to benchmarks/results/{name}.json")


def _table(model: str, measured: dict[str, Any]) -> Table:
    bare = measured["bare"]
    table = Table(title=f"{model}: bare engine p50 {bare['p50_ms']} ms, {bare['requests_per_s']} requests/s")
    for column in ("concurrency", "requests/s", "p50 ms", "p99 ms", "x bare"):
        table.add_column(column, justify="right")
    for concurrency, row in measured["served"].items():
        values = (row["requests_per_s"], row["p50_ms"], row["p99_ms"], row["throughput_vs_bare"])
        table.add_row(concurrency, *map(str, values))
    return table


def _limits(measured: dict[str, Any]) -> Table:
    limit, alone = measured["bare_limit"], measured["bare_one_at_a_time"]
    table = Table(title=f"bare limit {limit['texts_per_s']} texts/s; one at a time p50 {alone['p50_ms']} ms")
    for column in ("concurrency", "requests/s", "p50 ms", "p99 ms", "x bare limit", "p99 / mean"):
        table.add_column(column, justify="right")
    for concurrency, row in measured["served"].items():
        ratios = (row["throughput_vs_bare_limit"], row["p99_vs_closed_loop_mean"])
        table.add_row(concurrency, *map(str, (row["requests_per_s"], row["p50_ms"], row["p99_ms"], *ratios)))
    return table


if __name__ == "__main__":
    main(sys.argv[1:])

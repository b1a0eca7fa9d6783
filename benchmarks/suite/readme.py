"""What the README says of speed, from the recorded results: its main table and its plot. Pure.

`python -m benchmarks report --readme README.md` writes it between two marks; a test compares the two.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.suite.figures import Row, figure, short
from benchmarks.suite.report.lines import lines_chart

BEGIN: Final = "<!-- benchmarks: `python -m benchmarks report --readme README.md` writes what follows -->"
END: Final = "<!-- benchmarks end -->"
PLOT: Final = "throughput.svg"
"""In the folder of the results."""
OURS: Final = "Roundhouse"
_LIMIT: Final = "bare engine, sorted batches, no server"
_RATIO: Final = "served_throughput_vs_this"


class NoMarks(ValueError):
    """The text has no place for the block. The message says which marks make one."""


def block(document: Mapping[str, Any]) -> str:
    """The text between the marks, from a result that has `served` and `peers`."""
    served, peers = document["served"], document.get("peers", {})
    levels = list(served)
    last = levels[-1]
    order = sorted(peers, key=lambda name: -float(peers[name][last]["requests_per_s"]))
    columns = [*levels, f"{OURS} over it at {' / '.join(levels)}"]
    lines = [
        f"Text to embedding over HTTP: {', '.join(_how(document))}.",
        f"Each server was measured beside {OURS}, whose line is the median of all these rounds, of quicker and slower",
        "minutes: the last column compares within the rounds.",
        "",
        "| requests/s (p50 ms) at concurrency | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        f"| **{OURS}** | " + " | ".join(f"**{_cell(served[each])}**" for each in levels) + " | |",
    ]
    for name in order:
        cells = [_cell(peers[name].get(each, {})) for each in levels]
        lines.append(f"| {name} | {' | '.join(cells)} | {_ratios(peers[name], levels)} |")
    if limit := figure(document.get("bare_limit", {}), "texts_per_s"):
        shares = figure(served[last], "throughput_vs_bare_limit")  # taken within the rounds, where a scenario does that
        share = shares.value if shares else float(served[last]["requests_per_s"]) / limit.value
        blanks = " | ".join([""] * (len(levels) - 1))
        lines.append(f"| *{_LIMIT}* | {blanks} | *{short(limit.value)}* | {share:.2f} |")
    lines += ["", f"![Requests per second against concurrency](benchmarks/results/{PLOT})"]
    if missing := document.get("not_here", {}):
        lines += ["", "Not measured: " + "; ".join(f"{name} ({why})" for name, why in missing.items()) + "."]
    return "\n".join(lines)


def plot(document: Mapping[str, Any]) -> str:
    """Throughput against concurrency as SVG."""
    lines = {OURS: document["served"], **document.get("peers", {})}
    limit = figure(document.get("bare_limit", {}), "texts_per_s")
    return lines_chart(
        {
            name: [(float(each), float(row["requests_per_s"])) for each, row in rows.items()]
            for name, rows in lines.items()
        },
        OURS,
        (_LIMIT, limit.value) if limit else None,
    )


def replaced(text: str, between: str) -> str:
    """The text with the block between its marks.

    Raises:
        NoMarks: it lacks them.
    """
    if BEGIN not in text or END not in text:
        raise NoMarks(f"there is no place for the figures: it needs the lines {BEGIN} and {END}")
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n{between}\n{END}{rest.partition(END)[2]}"


def within(text: str) -> str:
    """What stands between the marks. Raises NoMarks."""
    replaced(text, "")
    return text.partition(BEGIN)[2].partition(END)[0].strip("\n")


def _how(document: Mapping[str, Any]) -> list[str]:
    where = document.get("environment", {})
    machine = (
        f"{where.get('cores', '?')} cores of {where.get('cpu', 'an unnamed CPU')}, load generator on the same cores"
    )
    loops = f"closed loops ({where['closed_loops_by']})" if "closed_loops_by" in where else "closed loops"
    return [
        "real MiniLM in FP32",
        "sentences of 8 to 64 tokens",
        loops,
        f"medians of {document.get('rounds', '?')} rounds",
        machine,
        f"commit {where.get('commit', 'unknown')}",
    ]


def _cell(row: Row) -> str:
    rate, wait = figure(row, "requests_per_s"), figure(row, "p50_ms")
    return "" if rate is None or wait is None else f"{short(rate.value)} ({short(wait.value)})"


def _ratios(rows: Mapping[str, Row], levels: Sequence[str]) -> str:
    """What we reached over what they did, at each level, with the spread at the last."""
    known = [figure(rows.get(each, {}), _RATIO) for each in levels]
    if not any(known):
        return ""
    *_, last = known
    spread = f" ({last.low:.2f} to {last.high:.2f})" if last is not None and last.has_spread else ""
    return " / ".join("-" if each is None else f"{each.value:.2f}" for each in known) + spread

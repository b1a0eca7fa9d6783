"""One self-contained HTML page from result documents: no script, no font, no picture from elsewhere. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from benchmarks.suite.figures import Figure, short
from benchmarks.suite.report.sections import Grid, Section, section

_STYLE: Final = """
:root { color-scheme: light; --ink: #20262d; --soft: #66717d; --line: #e3e7eb; --blue: #1f6fb4; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 980px; padding: 40px 24px 80px; color: var(--ink); background: #fff;
       font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 30px; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 21px; margin: 64px 0 4px; padding-top: 20px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 28px 0 6px; }
p { margin: 6px 0; max-width: 74ch; }
a { color: var(--blue); text-decoration: none; } a:hover { text-decoration: underline; }
.soft { color: var(--soft); font-size: 14px; }
.note { border-left: 3px solid #e0b040; padding: 2px 0 2px 12px; font-size: 14px; }
nav { margin: 22px 0; padding: 0; display: grid; gap: 6px; } nav a { font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 18px 5px 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); } th:first-child, td:first-child { text-align: left; }
td small { color: var(--soft); display: block; font-size: 11.5px; line-height: 1.2; }
figure { margin: 14px 0; } figcaption { font-weight: 600; font-size: 15px; margin: 26px 0 6px; }
svg { width: 100%; height: auto; max-width: 960px; font-family: inherit; } svg text { fill: var(--ink); }
figure.line svg { max-width: 560px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px; font-size: 14px; margin: 10px 0; }
dt { color: var(--soft); } dd { margin: 0; } summary { cursor: pointer; color: var(--soft); font-size: 14px; }
@media print { body { max-width: none; padding: 0; } h2 { break-before: page; } }
"""


def page(documents: Sequence[Mapping[str, Any]]) -> str:
    """The whole page; documents in the order in which they shall appear. Without any it says how to get some."""
    sections = [section(document) for document in documents]
    links = "".join(
        f'<div><a href="#{escape(each.name)}">{escape(each.name.replace("_", " "))}</a> '
        f'<span class="soft">{escape(each.question)}</span></div>'
        for each in sections
    )
    body = "\n".join(_section(each) for each in sections)
    empty = "" if sections else "<p>There are no results yet: <code>python -m benchmarks --quick</code> makes some.</p>"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Roundhouse: measured</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        "<h1>Roundhouse: measured</h1>\n"
        '<p class="soft">Medians over the rounds, small below them the smallest and the largest round. Machines are '
        "noisy: read ratios within one run, not absolute figures across runs.</p>\n"
        f"<nav>{links}</nav>\n{empty}{body}\n</body>\n</html>\n"
    )


def _section(of: Section) -> str:
    document = of.document
    said = [f'<h2 id="{escape(of.name)}">{escape(of.name.replace("_", " "))}</h2>', f"<p>{escape(of.question)}</p>"]
    said.extend(f'<p class="note">{escape(note)}</p>' for note in _notes(document))
    said.extend(
        f'<figure class="{"line" if title.startswith("Latency") else "wide"}"><figcaption>{escape(title)}</figcaption>'
        f"{drawn}</figure>"
        for title, drawn in of.charts
    )
    said.extend(_table(grid) for grid in of.grids)
    said.append(_environment(document))
    return "\n".join(said)


def _notes(document: Mapping[str, Any]) -> Iterator[str]:
    if document.get("is_quick"):
        yield f"A quick run ({document.get('rounds', 'few')} rounds, short): a first look, not a result."
    if document.get("caution"):
        yield str(document["caution"])
    missing = document.get("not_here", {})
    if isinstance(missing, Mapping):
        yield from (f"Not measured: {what.replace('_', ' ')}: {why}" for what, why in missing.items())


def _table(grid: Grid) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in ("", *grid.columns))
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{_cell(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in grid.rows
    )
    return f'<h3>{escape(grid.title)}</h3>\n<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _cell(cell: str | Figure) -> str:
    if isinstance(cell, str):
        return escape(cell)
    around = f"<small>{short(cell.low)} to {short(cell.high)}</small>" if cell.has_spread else ""
    return short(cell.value) + around


def _environment(document: Mapping[str, Any]) -> str:
    variants = document.get("variants") or {"": document}
    known = dict(document.get("environment") or next(iter(variants.values())).get("environment", {}))
    packages = known.pop("packages", {})
    rows = {**known, "packages": ", ".join(f"{name} {version}" for name, version in packages.items())}
    for name, said in (("took_s", "took, s"), ("load_average_before", "load average before"), ("rounds", "rounds")):
        if name in document:
            rows[said] = document[name]
    listed = "".join(
        f"<dt>{escape(str(name).replace('_', ' '))}</dt><dd>{escape(str(value))}</dd>"
        for name, value in rows.items()
        if value
    )
    return f"<details><summary>Where this was measured</summary><dl>{listed}</dl></details>" if listed else ""

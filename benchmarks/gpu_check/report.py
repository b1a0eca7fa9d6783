"""The report for people. Pure."""

from collections.abc import Mapping
from typing import Any


def markdown(result: Mapping[str, Any]) -> str:
    """One page: verdict, parity, speed, environment."""
    environment = result["environment"]
    gpus = ", ".join(environment["gpus"]) or "none"
    lines = [
        "# GPU check",
        "",
        f"**{'Every archive answers as its reference does.' if result['is_fine'] else 'NOT FINE: see below.'}**",
        f"GPU: {gpus}. Subject: {_server(result, 'subject')}. Reference: {_server(result, 'reference')}.",
        "",
        "## Parity",
        "",
        "| archive | output | largest difference | relative | cosine | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["archives"].items():
        if row["failure"]:
            lines.append(f"| {name} | | | | | {_cell(row['failure'])} |")
        for output, figures in row["outputs"].items():
            numbers = f"{figures['max_abs']:.3g} | {figures['relative']:.2e} | {figures['cosine']:.6f}"
            lines.append(f"| {name} | {output} | {numbers} | {_cell(figures['problem']) or 'fine'} |")
    lines += [
        "",
        "## Speed",
        "",
        "| archive | concurrency | reference requests/s | subject requests/s | speed-up | p50 ms | first answer s |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["archives"].items():
        for concurrency, speed in row["speed"].items():
            lines.append(
                f"| {name} | {concurrency} | {speed['reference']['requests_per_s']} | "
                f"{speed['subject']['requests_per_s']} | {speed['speed_up']} | {speed['subject']['p50_ms']} | "
                f"{row['first_answer_s']['subject']} |"
            )
    lines += ["", "## Environment", ""]
    lines += [f"- {key}: {value}" for key, value in environment.items()]
    return "\n".join(lines) + "\n"


def _server(result: Mapping[str, Any], side: str) -> str:
    server = result["servers"][side]
    return f"{server.get('kind', '?')} {server.get('version', '')}".strip() + f" ({' '.join(server['flags'])})"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")

"""`roundhouse demo`: the whole idea in a minute, with a real server, real requests and real answers."""

import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import click
from rich.console import Console
from rich.table import Table

BUDGET = "150MiB"
"""Room for one encoder in fp32 and one in int8, and not for a second one in fp32: the last step has to evict."""
SENTENCES = (
    "A man is eating food.",
    "Someone is having a meal.",
    "The stock market fell sharply.",
    "Shares lost value today.",
)
_READY = re.compile(r"ready on (http://\S+)")
_CONSOLE = Console(highlight=False, soft_wrap=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--store",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path("model_repository/archives"),
    show_default=True,
    help="Folder with the demo archives (roundhouse build demo).",
)
@click.option(
    "--pictures",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var/demo"),
    show_default=True,
    help="Folder that the pictures are written to.",
)
@click.option("--engine", type=click.Choice(["embedded", "triton"]), default="embedded", show_default=True)
def demo(store: Path, pictures: Path, engine: str) -> None:
    """Start a server on a free port, ask each model family once, show what it did, stop it.

    Its memory budget holds a few of the archives, so that some have to leave; pictures are written to a folder.
    """
    from server.commands import demo_families  # its libraries are not needed to list the commands

    missing = [name for name in ("minilm.tar.gz", "topic.tar.gz") if not (store / name).is_file()]
    missing += demo_families.missing(store)
    if missing:
        raise click.ClickException(
            f"{store} lacks {', '.join(missing)}; make them with  roundhouse build demo -o {store}"
        )
    with tempfile.TemporaryDirectory() as cache, _server(store, engine, cache) as url:
        _similarities(url)
        _sharing(url)
        _eviction(url)
        demo_families.Show(url, store.parent / "photos", pictures, _CONSOLE).run()
        _gone(url)
    _CONSOLE.print(f"\nPictures: [bold]{pictures}[/bold]")
    _CONSOLE.print("\nThe server drained and left. Yours: [bold]make serve[/bold]")


@contextmanager
def _server(store: Path, engine: str, cache: str) -> Iterator[str]:
    command = [sys.executable, "-m", "server", "serve", "--store", str(store), "--engine", engine]
    command += ["--host", "127.0.0.1", "--port", "0", "--memory-budget", BUDGET, "--cache-dir", cache]
    command += ["--log-level", "warning"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = next((found for line in process.stdout if (found := _READY.search(line))), None)
        if ready is None:
            raise click.ClickException(f"the server ended with {process.wait()} before it was ready")
        _CONSOLE.print(f"[bold]A server[/bold] with a memory budget of {BUDGET} is ready on {ready.group(1)}\n")
        yield ready.group(1)
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def _ask(url: str, archive: str, texts: list[str]) -> tuple[Any, str]:
    """POST /invocations; returns the answer, and how warm the model was."""
    request = Request(  # noqa: S310 - our own loopback server
        f"{url}/invocations",
        json.dumps({"inputs": texts}).encode(),
        {"content-type": "application/json", "x-amzn-sagemaker-target-model": archive},
    )
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        warmth = f"{answer.headers['x-roundhouse-warmth']}, load {float(answer.headers['x-roundhouse-load-ms']):.0f} ms"
        return json.load(answer), warmth


def _residency(url: str) -> dict[str, Any]:
    with urlopen(f"{url}/admin/residency", timeout=10) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
        return found


def _similarities(url: str) -> None:
    vectors, warmth = _ask(url, "minilm.tar.gz", list(SENTENCES))
    _CONSOLE.print(f"[bold]1. Real embeddings[/bold] from minilm.tar.gz ({warmth}): cosine similarities")
    table = Table(show_header=False, box=None, padding=(0, 1))
    for sentence, vector in zip(SENTENCES, vectors, strict=True):
        cosines = [_cosine(vector, other) for other in vectors]
        table.add_row(sentence, *(f"[bold]{value:.2f}[/bold]" if value > 0.5 else f"{value:.2f}" for value in cosines))
    _CONSOLE.print(table)
    _, warmth = _ask(url, "minilm.tar.gz", ["again"])
    _CONSOLE.print(f"   asked again: {warmth}\n")


def _sharing(url: str) -> None:
    before = _charged(url)
    scores, warmth = _ask(url, "topic.tar.gz", ["The keeper saved a penalty.", "Whisk the eggs with sugar."])
    added = _charged(url) - before
    _CONSOLE.print(
        f"[bold]2. Sharing[/bold]: topic.tar.gz has the same tokenizer and encoder, and a head of its own ({warmth})"
    )
    _CONSOLE.print(
        f"   it added {added / 1e6:.2f} MB to {before / 1e6:.1f} MB; scores {json.dumps(_rounded(scores))}\n"
    )


def _eviction(url: str) -> None:
    for archive in ("minilm-int8.tar.gz", "topic.tar.gz", "minilm-three-step.tar.gz"):
        _, warmth = _ask(url, archive, ["make room"])
        _CONSOLE.print(
            f"{'   ' if archive != 'minilm-int8.tar.gz' else '[bold]3. Eviction[/bold]: '}{archive} ({warmth})"
        )
    _gone(url)


def _gone(url: str) -> None:
    """Who is in memory now, and who left for whom."""
    state = _residency(url)
    names = ", ".join(resident["archive"] for resident in state["residents"])
    device = state["devices"]["cpu"]
    _CONSOLE.print(
        f"   resident now: {names}; {device['charged_bytes'] / 1e6:.1f} of {device['budget_bytes'] / 1e6:.1f} MB"
    )
    for gone in state["evictions"][:4]:
        _CONSOLE.print(
            f"   left: {gone['archive']} ({gone['reason']} for {gone['for']}; used {gone['idle_s']:.1f} s before)"
        )


def _charged(url: str) -> int:
    return int(_residency(url)["devices"]["cpu"]["charged_bytes"])


def _cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 2)
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return {key: _rounded(item) for key, item in value.items()} if isinstance(value, dict) else value

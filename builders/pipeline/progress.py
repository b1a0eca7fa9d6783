"""Shows the stages of a build: what runs now, what took how long."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from rich.console import Console

CONSOLE = Console(stderr=True, highlight=False)


@contextmanager
def stage(title: str) -> Iterator[None]:
    """A spinner while the block runs, then a line with its time; a cross when it fails."""
    begin = perf_counter()
    try:
        with CONSOLE.status(f"{title} …"):
            yield
    except BaseException:
        CONSOLE.print(f"  [red]✗[/red] {title}")
        raise
    CONSOLE.print(f"  [green]✓[/green] {title} [dim]{perf_counter() - begin:.1f} s[/dim]")

"""A missing library names the extra that brings it."""

from importlib import import_module
from types import ModuleType

import click


class MissingExtra(click.ClickException):
    """An optional dependency is not installed."""


def need(module: str, extra: str = "builders") -> ModuleType:
    """Import an optional module.

    Raises:
        MissingExtra: with the command that installs it.
    """
    try:
        found = import_module(module)
    except ImportError as error:
        raise MissingExtra(f'{module} is missing: install it with  pip install "roundhouse[{extra}]"') from error
    if module == "transformers":
        found.utils.logging.disable_progress_bar()  # the stages are the progress display here
    return found

"""`roundhouse serve`."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from server.commands.flags import given, setting_flags
from server.settings.load import SettingsError, load_settings


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file with settings.")
@setting_flags
def serve(config: Path | None, **flags: Any) -> None:
    """Serve the archives of a store, under a memory budget.

    Archives load when they are first asked for, equal steps are shared, and the least recently used leave when room is
    needed. SageMaker's variables (SAGEMAKER_MULTI_MODEL, SAGEMAKER_BIND_TO_PORT, ...) work as in its containers.

    \b
    roundhouse serve --store model_repository/archives
    roundhouse serve --store s3://models/prod --memory-budget 8GiB --preload minilm.tar.gz
    roundhouse serve --engine triton --store model_repository/archives
    SAGEMAKER_MULTI_MODEL=true roundhouse serve
    """  # noqa: D301 - \b is click's mark for text that must not be rewrapped
    try:
        settings, remarks = load_settings(given(flags), config, os.environ)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    from server.commands.server_process import run  # imported late: --help and a wrong setting answer at once

    sys.exit(run(settings, remarks))

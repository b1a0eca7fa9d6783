"""A finished archive in, the same archive with TensorRT plans out."""

import shutil
from pathlib import Path

import click

from builders.compile.archive_plans import Compile, compile_steps
from builders.compile.tensorrt_plan import PlanOptions, build_plan
from builders.pipeline.folder import finish, work_folder
from server.archive.layout import find_models
from server.archive.manifest import read_manifest
from server.archive.unpack import UnpackLimits, unpack
from server.domain.errors import RoundhouseError

_MOST_BYTES = 1 << 40


def recompile(archive: Path, to: Path, options: PlanOptions, compile_graph: Compile = build_plan) -> Path:
    """Compile the GPU graphs of `archive` (a file or a folder, left as it is unless it is `to`); returns `to`.

    Raises:
        click.ClickException: the archive is not readable, has no manifest or nothing to compile, or compiling failed.
    """
    with work_folder(to.parent) as work:
        root = work / "archive"
        try:
            if archive.is_dir():
                shutil.copytree(archive, root)
            else:
                with archive.open("rb") as file:
                    unpack(file, root, UnpackLimits(total_bytes=_MOST_BYTES))
            models = find_models(root).root
            manifest = read_manifest(models)
        except RoundhouseError as error:
            raise click.ClickException(f"{archive}: {error}") from error
        if manifest is None:
            raise click.ClickException(f"{archive} has no roundhouse.json: it was not built by Roundhouse")
        return finish(models, compile_steps(models, manifest, options, compile_graph), to)

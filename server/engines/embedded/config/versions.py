"""Which numbered version folder of a step is served, and which file in it."""

from pathlib import Path

from tritonclient.grpc.model_config_pb2 import ModelConfig

from server.domain.errors import InvalidArchive


def version_folder(directory: Path, config: ModelConfig) -> Path:
    """The newest version that the version policy allows: archives have one answer, so they have one version.

    Raises InvalidArchive where there is none.
    """
    found = {int(path.name): path for path in directory.iterdir() if path.is_dir() and path.name.isdecimal()}
    if config.version_policy.HasField("specific"):
        found = {number: path for number, path in found.items() if number in config.version_policy.specific.versions}
    if not found:
        raise InvalidArchive(f"model {config.name!r} has no version folder (like `1/`) that its version policy allows")
    return found[max(found)]


def model_file(directory: Path, config: ModelConfig, default: str) -> Path:
    """The model's file: `default_model_filename`, or the backend's `default`. Raises InvalidArchive without it."""
    name = config.default_model_filename or default
    folder = version_folder(directory, config)
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InvalidArchive(f"model {config.name!r}: default_model_filename {name!r} lies outside the version folder")
    if not path.exists():
        raise InvalidArchive(f"model {config.name!r} has no file {folder.name}/{name}")
    return path

"""Small archives for the tests of the store: real Triton repositories of Python steps, packed and unpacked."""

from pathlib import Path

from server.archive.pack import pack
from tests.fakes.repositories import chain_ensemble, python_echo


def repository(root: Path, own: str = "", ballast_bytes: int = 0) -> Path:
    """An ensemble of `tokenizer` (the same everywhere) and `encoder` (different for each `own` text)."""
    python_echo(root / "tokenizer")
    python_echo(root / "encoder")
    (root / "encoder" / "1" / "weights.bin").write_bytes(own.encode() + bytes(ballast_bytes))
    chain_ensemble(root / "pipeline", ["tokenizer", "encoder"])
    return root


def packed(to: Path, own: str = "", ballast_bytes: int = 0) -> Path:
    """The same as a tar file, put in place by renaming, as a careful deployer does."""
    to.parent.mkdir(parents=True, exist_ok=True)
    folder = repository(to.with_name(f"{to.name}.{own}.folder"), own, ballast_bytes)
    partial = to.with_name("partial-" + to.name)
    pack(folder, partial)
    remove_folder(folder)
    partial.rename(to)
    return to


def remove_folder(folder: Path) -> None:
    """Delete a folder of a repository."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()


def complete_nothing(directory, config):
    """A `CompleteConfig` for archives whose configs are complete."""
    raise AssertionError(f"{directory} is complete and was asked about")


def named(archive, name):
    """The step of that name."""
    (found,) = [step for step in archive.steps if step.name == name]
    return found

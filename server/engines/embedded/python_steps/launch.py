"""What a host needs to know to run one instance of a step: plain values, which also travel to a worker process."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Launch:
    """One instance of a Python step.

    `directory` is the model's folder, `version` the name of the version folder in it, `file_name` the model file's.
    `arguments` is what `initialize` gets; `outputs` are all output names; `calls` the models it may call.
    """

    name: str
    directory: Path
    version: str
    file_name: str
    arguments: Mapping[str, str]
    outputs: tuple[str, ...]
    calls: tuple[str, ...]
    is_decoupled: bool

    @property
    def version_folder(self) -> Path:
        """Where the model file lies."""
        return self.directory / self.version

    def to_json(self) -> dict[str, Any]:
        """For the wire."""
        return {**asdict(self), "directory": str(self.directory)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Launch":
        """The inverse of `to_json`."""
        return cls(
            **{
                **values,
                "directory": Path(values["directory"]),
                "outputs": tuple(values["outputs"]),
                "calls": tuple(values["calls"]),
            }
        )

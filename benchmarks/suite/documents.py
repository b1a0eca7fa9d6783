"""Result files: one JSON document per scenario; those of quick runs lie apart, so that they replace no others."""

import json
import re
from pathlib import Path
from typing import Any, Final, cast

from benchmarks.suite.catalogue import SCENARIOS

RESULTS: Final = Path(__file__).parents[1] / "results"
QUICK: Final = RESULTS / "quick"
_FLAT_LIST: Final = re.compile(r"\[\s+([-+0-9.,e\s]+?)\s+\]")
"""Numbers in a row: a line each would make a diff of the results unreadable."""


class NoResult(ValueError):
    """A file that is missing, or holds no result of a scenario. The message names it."""


def folder(*, is_quick: bool) -> Path:
    """Where results of this form lie."""
    return QUICK if is_quick else RESULTS


def save(document: dict[str, Any], where: Path) -> Path:
    """Write `where/SCENARIO.json`; returns its path."""
    where.mkdir(parents=True, exist_ok=True)
    file = where / f"{document['scenario']}.json"
    text = _FLAT_LIST.sub(lambda found: "[" + " ".join(found[1].split()) + "]", json.dumps(document, indent=2))
    file.write_text(text + "\n")
    return file


def read(file: Path) -> dict[str, Any]:
    """A result document.

    Raises:
        NoResult: the file is missing, is not JSON, or is no scenario's result.
    """
    try:
        document = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise NoResult(f"{file} cannot be read as a result: {error}") from error
    if not isinstance(document, dict) or "scenario" not in document:
        raise NoResult(f"{file} holds no result of a scenario: it has no field `scenario`")
    return cast("dict[str, Any]", document)


def read_all(where: Path) -> list[dict[str, Any]]:
    """The suite's results in a folder, in the order in which they run; other files are passed over."""
    found = []
    for name in SCENARIOS:
        try:
            found.append(read(where / f"{name}.json"))
        except NoResult:
            continue
    return found


def main(where: Path) -> dict[str, Any]:
    """The result with the figures beside other servers, the fullest there is.

    Raises:
        NoResult: there is none.
    """
    try:
        return read(where / "peers.json")
    except NoResult:
        return read(where / "single_model.json")


def took_s(name: str, where: Path) -> float | None:
    """How long the scenario took when its result was written, if that is known."""
    try:
        took = read(where / f"{name}.json").get("took_s")
    except NoResult:
        return None
    return float(took) if took else None

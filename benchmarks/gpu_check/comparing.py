"""How close two answers are. Pure.

FP16 arithmetic and other kernels move the last digits, so nothing is compared bit by bit: directions and relative
errors are, with limits that a wrong layout, a wrong precision or a wrong plan cannot meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MIN_COSINE = 0.999
MAX_RELATIVE = 0.05
MAX_MEAN_OF_RANGE = 0.02
"""Whole numbers (pixels, masks): mean difference over the range of the reference's values."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """Of one output. `relative`: largest difference over the largest value. `problem` is "" where all is well."""

    problem: str = ""
    max_abs: float = 0.0
    relative: float = 0.0
    cosine: float = 1.0


def closeness(reference: Mapping[str, Any], subject: Mapping[str, Any]) -> dict[str, Closeness]:
    """Compare two KServe v2 answers (JSON), output by output."""
    expected, found = _by_name(reference), _by_name(subject)
    result: dict[str, Closeness] = {}
    for name in sorted(expected.keys() | found.keys()):
        if name not in expected or name not in found:
            result[name] = Closeness(problem=f"only the {'subject' if name in found else 'reference'} has it")
        else:
            result[name] = _of_one(expected[name], found[name])
    return result


def _by_name(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {str(output["name"]): output for output in answer["outputs"]}


def _of_one(expected: Mapping[str, Any], found: Mapping[str, Any]) -> Closeness:
    for key in ("datatype", "shape"):
        if expected[key] != found[key]:
            return Closeness(problem=f"{key} is {found[key]} instead of {expected[key]}")
    if expected["datatype"] in ("BYTES", "BOOL"):
        return Closeness(problem="" if expected["data"] == found["data"] else "the values differ")
    try:
        wanted, got = (np.asarray(each["data"], dtype=np.float64).reshape(-1) for each in (expected, found))
    except (TypeError, ValueError):
        return Closeness(problem="an answer holds something that is no number")
    if not np.isfinite(got).all():
        return Closeness(problem="the subject answers with NaN or infinity")
    return _of_numbers(wanted, got, is_whole="INT" in str(expected["datatype"]))


def _of_numbers(wanted: npt.NDArray[np.float64], got: npt.NDArray[np.float64], *, is_whole: bool) -> Closeness:
    if not wanted.size:
        return Closeness()
    difference = np.abs(wanted - got)
    max_abs, largest = float(difference.max()), float(np.abs(wanted).max())
    relative = max_abs / largest if largest else max_abs
    lengths = float(np.linalg.norm(wanted) * np.linalg.norm(got))
    cosine = float(wanted @ got) / lengths if lengths else float(max_abs == 0)
    problem = ""
    if is_whole:
        share = float(difference.mean()) / max(1.0, float(np.ptp(wanted)))
        if share > MAX_MEAN_OF_RANGE:
            problem = f"differs by {share:.1%} of the range on average; {MAX_MEAN_OF_RANGE:.0%} is allowed"
    elif cosine < MIN_COSINE or relative > MAX_RELATIVE:
        problem = f"cosine {cosine:.5f} (at least {MIN_COSINE}), relative error {relative:.2e} (at most {MAX_RELATIVE})"
    return Closeness(problem, max_abs, relative, cosine)

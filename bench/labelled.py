"""Series that people have marked, read from tests/data, and the scores by which a detector is compared with them."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.common import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

DATA = ROOT / "tests" / "data"


@dataclass(frozen=True, slots=True)
class Series:
    """Values in order (NaN: no answer), and which of them people have marked."""

    name: str
    values: npt.NDArray[np.float64]
    marked: npt.NDArray[np.bool_]


def load(folder: str) -> list[Series]:
    """Return every marked series of a folder below tests/data."""
    found = []
    for path in sorted((DATA / folder).glob("*.csv.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = list(csv.reader(file, delimiter=";"))[1:]
        values = np.array([float(value) if value else np.nan for value, _ in rows])
        found.append(Series(path.name.split(".")[0], values, np.array([mark == "1" for _, mark in rows])))
    return found


def matched(changes: Sequence[int], found: Sequence[tuple[int, int]], within: int, late: int) -> int:
    """Return how many changes are found, one to one.

    Places are numbers of values. `found` holds (where it began, when it was known): a change is found by one that began
    at most `within` values from it and was known at most `late` values after it.
    """
    left = sorted(found)
    hits = 0
    for change in sorted(changes):
        for one in left:
            if abs(one[0] - change) <= within and one[1] - change <= late:
                left.remove(one)
                hits += 1
                break
    return hits


def f_score(hits: int, marked: int, found: int, beta: float) -> float:
    """Return F beta, 1 where there was nothing to find and nothing was."""
    if not marked and not found:
        return 1.0
    square = beta**2
    return (1 + square) * hits / (square * marked + found)


def runs(marked: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return every run of marked values as (first, one past the last)."""
    edges = np.diff(np.concatenate([[0], marked.astype(int), [0]]))
    return list(zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True))

"""What is judged again: points in the order in which they arrive, from files, from the journal, or from a list."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from collector.catalogue import Catalogue
from collector.columns import Columns, Decoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy.typing as npt

    from collector.orders import Order

    Rows = npt.NDArray[np.void]
    Text = tuple[int, int, str, str]

NS = 1_000_000_000
_HOUR = 3600 * NS
_ROW = np.dtype([("at", np.int64), ("value", np.float64), ("signal", np.int32)])
_MOST_IN_MEMORY = 20_000_000
FEW, MANY = 200_000, 10_000_000


@dataclass(frozen=True, slots=True)
class Arrival:
    """What arrives at an instant (nanoseconds): points, a person's order, or the collector itself, after a pause."""

    at: int
    columns: Columns | None = None
    sent_at: int | None = None
    order: Order | None = None


class Recording(Protocol):
    """Anything that can be judged again, as often as wanted."""

    catalogue: Catalogue
    step: int
    """So many nanoseconds arrive together; 0: each instant by itself."""

    def arrivals(self) -> Iterator[Arrival]:
        """Yield everything in the order in which it arrived."""
        ...


def step_for(count: int) -> int:
    """Return how much time arrives at once, by how many points there are: a few are judged instant by instant."""
    return 0 if count <= FEW else NS if count <= MANY else 5 * NS


class Lines:
    """A few lines, each with its timestamp, at which it arrives."""

    step = 0

    def __init__(self, lines: list[tuple[int, bytes]]) -> None:
        """Take lines in the order of their timestamps."""
        self._lines = lines
        self.catalogue = Catalogue(max_signals_per_site=1 << 40)
        self._decoder = Decoder(self.catalogue)

    def arrivals(self) -> Iterator[Arrival]:
        """Yield all points of an instant at once."""
        index = 0
        while index < len(self._lines):
            at, end = self._lines[index][0], index
            while end < len(self._lines) and self._lines[end][0] == at:
                end += 1
            body = b"\n".join(line for _, line in self._lines[index:end])
            yield Arrival(at, self._decoder.decode(body, arrived_at=at)[0])
            index = end


class Points:
    """Points in any order, sorted by hours; what does not fit into memory waits in a file an hour. Close it."""

    def __init__(self, most_in_memory: int = _MOST_IN_MEMORY) -> None:
        """Begin empty; files, if it comes to that, are made where temporary files belong (TMPDIR)."""
        self.catalogue = Catalogue(max_signals_per_site=1 << 40)
        self.step = 0
        self.count = 0
        self._most = most_in_memory
        self._held = 0
        self._hours: defaultdict[int, list[Rows]] = defaultdict(list)
        self._texts: defaultdict[int, list[Text]] = defaultdict(list)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, columns: Columns) -> None:
        """Take points in; columns without an instant of their own must have been left out."""
        rows = np.empty(len(columns.signals), dtype=_ROW)
        rows["at"], rows["value"], rows["signal"] = columns.measured_at, columns.values, columns.signals
        for text in columns.texts:
            self._texts[text[1] // _HOUR].append(text)
        hours = rows["at"] // _HOUR
        for hour in np.unique(hours).tolist():
            self._hours[hour].append(rows[hours == hour])
        self.count += columns.points
        self._held += len(rows)
        if self._held > self._most:
            self._put_away()

    def arrivals(self) -> Iterator[Arrival]:
        """Yield the points of `step` nanoseconds at once, as if they had arrived when the last of them was measured."""
        series_of = np.array([signal.series_id for signal in self.catalogue.signals], dtype=np.int64)
        for hour in sorted({*self._hours, *self._texts, *self._away()}):
            rows = self._rows(hour)
            texts = sorted(self._texts.get(hour, ()), key=lambda text: text[1])
            yield from _parted(rows, texts, series_of, self.step)

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            self._folder.cleanup()

    def _put_away(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="nhip-replay-")
        for hour, parts in self._hours.items():
            with Path(self._folder.name, str(hour)).open("ab") as file:
                for part in parts:
                    part.tofile(file)
        self._hours.clear()
        self._held = 0

    def _away(self) -> set[int]:
        return set() if self._folder is None else {int(path.name) for path in Path(self._folder.name).iterdir()}

    def _rows(self, hour: int) -> Rows:
        parts = list(self._hours.get(hour, ()))
        if hour in self._away():
            assert self._folder is not None  # noqa: S101  (for mypy)
            parts.insert(0, np.fromfile(Path(self._folder.name, str(hour)), dtype=_ROW))
        rows = np.concatenate([np.empty(0, dtype=_ROW), *parts])
        return rows[np.argsort(rows["at"], kind="stable")]


def _parted(rows: Rows, texts: list[Text], series_of: npt.NDArray[np.int64], step: int) -> Iterator[Arrival]:
    """Yield an hour's points, parted by the steps they fall into."""
    width = max(step, 1)
    steps = rows["at"] // width
    edges = np.flatnonzero(np.diff(steps)) + 1
    bounds = [0, *edges.tolist(), len(rows)] if len(rows) else [0]
    said: defaultdict[int, list[Text]] = defaultdict(list)
    for text in texts:
        said[text[1] // width].append(text)
    parts = {int(steps[first]): rows[first:last] for first, last in pairwise(bounds)}
    for number in sorted({*parts, *said}):
        part, words = parts.get(number, rows[:0]), said.get(number, [])
        series = np.unique(np.concatenate([series_of[part["signal"]], np.array([t[0] for t in words], dtype=np.int64)]))
        at = max([int(part["at"][-1])] if len(part) else [], default=0)
        at = max([at, *(text[1] for text in words)])
        columns = Columns(part["signal"].astype(np.int64), part["at"], part["value"], series, len(series), words)
        yield Arrival(at, columns)


def merged(parts: Iterable[Columns]) -> Columns:
    """Return several bodies as one."""
    every = list(parts)
    return Columns(
        np.concatenate([part.signals for part in every]),
        np.concatenate([part.measured_at for part in every]),
        np.concatenate([part.values for part in every]),
        np.unique(np.concatenate([part.series for part in every])),
        sum(part.points for part in every),
        [text for part in every for text in part.texts],
    )

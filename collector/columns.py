"""From the bytes of a request to columns of numbers: decoding at the speed of a nation.

Reading line protocol character by character in Python reaches some 40,000 lines a second. Nearly all lines are like
one seen before: the same series with other numbers. So a series' key (everything before the first space) is looked up
whole, lines whose fields have the same names in the same order are gathered, the names are cut out of all of them at
once, and what remains is a list of numbers that a JSON reader takes in one go. A line that does not fit, in any way,
goes through `checks.line_protocol`, which alone decides what is right: the quick path only ever agrees with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import orjson

from checks.line_protocol import PRECISIONS, LineError, Point, decode, logical_lines
from collector.catalogue import series_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from collector.catalogue import Catalogue

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_NUMBER = b"0123456789.,+-eE\n"
_DIGITS = b"0123456789-"
_MAX_SHAPES = 1_000
_MAX_KEYS = 1_000_000
_PARTS = 3


@dataclass(slots=True)
class Columns:
    """The points of one body: a row a number, and the series that spoke.

    `signals`, `measured_at` (nanoseconds) and `values` run in parallel; `texts` holds what is not a number
    (series, measured_at, field, text): reasons and errors, for people.
    """

    signals: Ints
    measured_at: Ints
    values: Floats
    series: Ints
    points: int
    texts: list[tuple[int, int, str, str]] = field(default_factory=list)


class _Shape:
    """Lines with the same float fields in the same order; each known series has a row of signal numbers."""

    def __init__(self, names: tuple[bytes, ...]) -> None:
        self.names = names
        self.rows = np.empty((16, len(names)), dtype=np.int64)
        self.series = np.empty(16, dtype=np.int64)
        self.row_of: dict[int, int] = {}
        self.used = 0

    def add(self, series_id: int, signal_ids: list[int]) -> int:
        if series_id in self.row_of:
            return self.row_of[series_id]
        self.row_of[series_id] = self.used
        if self.used == len(self.rows):
            self.rows = np.concatenate([self.rows, np.empty_like(self.rows)])
            self.series = np.concatenate([self.series, np.empty_like(self.series)])
        self.rows[self.used] = signal_ids
        self.series[self.used] = series_id
        self.used += 1
        return self.used - 1

    def read(self, fields: list[bytes]) -> Floats | None:
        """Return the numbers of all these field parts, or None if any of them is not plainly of this shape."""
        text = b"\n" + b"\n".join(fields)
        text = text.replace(b"\n" + self.names[0] + b"=", b"\n")
        for name in self.names[1:]:
            text = text.replace(b"," + name + b"=", b",")
        if text.translate(None, _NUMBER):
            return None
        try:
            rows = orjson.loads(b"[[" + text[1:].replace(b"\n", b"],[") + b"]]")
            values = np.array(rows, dtype=np.float64)
        except ValueError:
            return None
        expected = (len(fields), len(self.names))
        return values if values.shape == expected and bool(np.isfinite(values).all()) else None


class Decoder:
    """Decodes bodies; remembers the shape of every series, apart for each site that a token is bound to."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Intern names in `catalogue`."""
        self._catalogue = catalogue
        self._shapes: list[_Shape] = []
        self._shape_ids: dict[tuple[bytes, ...], int] = {}
        self._keys: dict[str | None, dict[bytes, tuple[int, int]]] = {}
        self._known = 0

    def decode(
        self, body: bytes, *, arrived_at: int, precision: str = "ns", site: str | None = None
    ) -> tuple[Columns, list[LineError]]:
        """Read a body; points without a timestamp were measured when they arrived.

        `site` is the one that the writer's token is bound to, or None. Refused lines come back by number and reason.
        """
        scale = PRECISIONS[precision]
        keys = self._keys.get(site, {})
        quick, careful = self._sort(body, keys)
        parts, odd = self._read_all(quick, scale)
        if odd:
            again, odd = self._read_all(self._sort_again(odd, keys), scale)
            parts += again
            for _, gathered in odd:
                careful.extend(zip(gathered.numbers, gathered.lines(), strict=True))
        errors: list[LineError] = []
        texts: list[tuple[int, int, str, str]] = []
        if careful:
            careful.sort()
            parts.append(self._read_careful(careful, precision, arrived_at, site, errors, texts))
        return _join(parts, texts), errors

    @staticmethod
    def nothing() -> Columns:
        """Return columns without a point."""
        return _join([], [])

    def _sort(
        self, body: bytes, keys: dict[bytes, tuple[int, int]]
    ) -> tuple[dict[int, _Gathered], list[tuple[int, bytes]]]:
        """Part the lines into those of a known shape and those to read with care."""
        quick: dict[int, _Gathered] = {}
        careful: list[tuple[int, bytes]] = []
        quoted = b'"' in body
        lines: Iterable[tuple[int, bytes]] = logical_lines(body) if quoted else enumerate(body.split(b"\n"), 1)
        for number, line in lines:
            words = line.split(b" ")
            known = keys.get(words[0])
            if known is None or len(words) != _PARTS or (quoted and b'"' in line):
                if line:
                    careful.append((number, line))
                continue
            gathered = quick.get(known[0])
            if gathered is None:
                gathered = quick[known[0]] = _Gathered()
            gathered.add(number, known[1], words)
        return quick, careful

    def _sort_again(self, odd: list[tuple[int, _Gathered]], keys: dict[bytes, tuple[int, int]]) -> dict[int, _Gathered]:
        """Part lines by the shape they really have: a series that stops or starts answering changes its fields."""
        quick: dict[int, _Gathered] = {}
        for old, gathered in odd:
            series = self._shapes[old].series
            for number, row, words in zip(gathered.numbers, gathered.rows, gathered.words, strict=True):
                names = tuple([pair.partition(b"=")[0] for pair in words[1].split(b",")])
                shape_id = self._shape_ids.get(names, old)
                known = self._shapes[shape_id].row_of.get(int(series[row]))
                if known is None:
                    shape_id, known = -1, -1
                else:
                    keys[words[0]] = (shape_id, known)
                quick.setdefault(shape_id, _Gathered()).add(number, known, words)
        return quick

    def _read_all(self, quick: dict[int, _Gathered], scale: int) -> tuple[list[_Part], list[tuple[int, _Gathered]]]:
        """Read each shape's lines; return also those where at least one line does not fit."""
        parts: list[_Part] = []
        odd: list[tuple[int, _Gathered]] = []
        for shape_id, gathered in quick.items():
            part = self._read_quick(self._shapes[shape_id], gathered, scale) if shape_id >= 0 else None
            if part is None:
                odd.append((shape_id, gathered))
            else:
                parts.append(part)
        return parts, odd

    def _read_quick(self, shape: _Shape, gathered: _Gathered, scale: int) -> _Part | None:
        stamps = b",".join([words[2] for words in gathered.words])
        if stamps.translate(None, _DIGITS + b","):
            return None
        values = shape.read([words[1] for words in gathered.words])
        if values is None:
            return None
        try:
            at = np.array(orjson.loads(b"[" + stamps + b"]"), dtype=np.int64)
        except (ValueError, OverflowError):
            return None
        if len(at) != len(gathered.words) or (scale > 1 and bool((np.abs(at) > 2**63 // scale).any())):
            return None
        rows = np.array(gathered.rows)
        at *= scale
        width = len(shape.names)
        return _Part(shape.rows[rows].ravel(), np.repeat(at, width), values.ravel(), shape.series[rows])

    def _read_careful(
        self,
        lines: list[tuple[int, bytes]],
        precision: str,
        arrived_at: int,
        site: str | None,
        errors: list[LineError],
        texts: list[tuple[int, int, str, str]],
    ) -> _Part:
        signals: list[int] = []
        stamps: list[int] = []
        values: list[float] = []
        series: list[int] = []
        for number, line in lines:
            for item in decode(line, precision):
                if isinstance(item, LineError):
                    errors.append(LineError(number, item.reason))
                    continue
                try:
                    series_id = self._catalogue.series_id(series_of(item.measurement, item.tags, site))
                    numbers = {k: float(v) for k, v in item.fields.items() if not isinstance(v, str)}
                    ids = [self._catalogue.signal_id(series_id, name) for name in numbers]
                except ValueError as exc:
                    errors.append(LineError(number, str(exc)))
                    continue
                at = arrived_at if item.timestamp is None else item.timestamp
                series.append(series_id)
                signals += ids
                stamps += [at] * len(ids)
                values += numbers.values()
                texts += [(series_id, at, k, v) for k, v in item.fields.items() if isinstance(v, str)]
                self._remember(line, item, series_id, ids, site)
        return _Part(
            np.array(signals, dtype=np.int64),
            np.array(stamps, dtype=np.int64),
            np.array(values, dtype=np.float64),
            np.array(series, dtype=np.int64),
        )

    def _remember(self, line: bytes, point: Point, series_id: int, ids: list[int], site: str | None) -> None:
        """Learn the shape of a plainly written line of floats, so that its next one is quick."""
        words = line.split(b" ")
        plain = len(words) == _PARTS and b"\\" not in line and b'"' not in line
        if not plain or self._known >= _MAX_KEYS or any(type(v) is not float for v in point.fields.values()):
            return
        names = tuple(pair.partition(b"=")[0] for pair in words[1].split(b","))
        if len(names) != len(ids):
            return  # a field given twice: only the careful path knows which counts
        shape_id = self._shape_ids.get(names)
        if shape_id is None:
            if len(self._shapes) >= _MAX_SHAPES:
                return
            shape_id = self._shape_ids[names] = len(self._shapes)
            self._shapes.append(_Shape(names))
        keys = self._keys.setdefault(site, {})
        self._known += words[0] not in keys
        keys[words[0]] = (shape_id, self._shapes[shape_id].add(series_id, ids))


@dataclass(slots=True)
class _Gathered:
    numbers: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    words: list[list[bytes]] = field(default_factory=list)

    def add(self, number: int, row: int, words: list[bytes]) -> None:
        self.numbers.append(number)
        self.rows.append(row)
        self.words.append(words)

    def lines(self) -> list[bytes]:
        return [b" ".join(words) for words in self.words]


@dataclass(frozen=True, slots=True)
class _Part:
    signals: Ints
    measured_at: Ints
    values: Floats
    series: Ints


def _join(parts: list[_Part], texts: list[tuple[int, int, str, str]]) -> Columns:
    if len(parts) == 1:
        only = parts[0]
        return Columns(only.signals, only.measured_at, only.values, only.series, len(only.series), texts)
    empty_ints, empty_floats = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    series = np.concatenate([empty_ints, *(part.series for part in parts)])
    return Columns(
        np.concatenate([empty_ints, *(part.signals for part in parts)]),
        np.concatenate([empty_ints, *(part.measured_at for part in parts)]),
        np.concatenate([empty_floats, *(part.values for part in parts)]),
        series,
        len(series),
        texts,
    )

"""Shifts: when the level of a signal has moved, how far, and at which value it began. On line, nothing is looked ahead.

The last few values are held against the regime before them. For every place where a new regime could have begun, at
most `LONGEST` values ago, the two are compared by a likelihood ratio under heavy-tailed noise (Student's t with one
degree of freedom), so that one wild value weighs little and three that agree weigh much:

    sum over the values since then of  log f(x; centre1, spread1) - log f(x; centre0, spread0)

Centre and spread are a median and a median deviation of the regime (mean deviation for the few new values), the spread
drawn towards what this signal usually does from value to value. A noisier or a calmer regime is a shift too. This is
the generalised likelihood ratio test for a change (Willsky and Jones 1976; Basseville and Nikiforov 1993, 2.4) with a
window, and robust in the sense of Fearnhead and Rigaill ("Changepoint detection in the presence of outliers", 2019).
The threshold grows with the logarithm of how often is measured: shifts come so many a day, not so many a value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from collector.detect.rows import Rows, median
from collector.detect.watched import LEVELLED, Leading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from collector.catalogue import Signal

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

REGIME = 30
"""Values that say what a regime is like."""
LONGEST, SHORTEST = 6, 3
"""Values of a new regime that are looked at, at most and at least; see `Watched.values`."""
RAREST_SECONDS = 900.0
"""Of what is measured more rarely, some values in a row are half a day: its baseline knows better, see `early.py`."""
_EVIDENCE = 12.5  # likelihood ratio that is a shift, at one value in four minutes
_YOUTH = 4.0  # more, where the regime before was short: so much at no value, none at `_GROWN`
_GROWN = 15
_SMALLEST = 4.0  # shift, in floors
_RELATIVE_FLOOR = 1e-3
_REGIME_WEIGHT, _NEW_WEIGHT = 2.0, 1.5  # of the usual spread, in values
_ADAPT = 0.02  # how quickly the usual spread follows
_USUAL_SECONDS = 240.0
_NORMAL = 1.4826  # a median deviation of normal noise to its standard deviation
_MEAN_NORMAL = 1.25  # a mean deviation likewise
_STEP_NORMAL = 0.7  # a difference of two values likewise
_MEDIAN_OF_NORMAL = 0.6745
_RING = REGIME + LONGEST
_TIMES = 8
_ODD, _CALM = 2.5, 0.4  # spreads: worth a look; so close to the value before that the noise may have ended
_ODDS, _CALMS = 2, 4  # of the last six and five
_YOUNG = 20  # values up to which a regime is always looked at
_REFRESH = 8  # values after which centre and spread are found again


class Shift(NamedTuple):
    """A signal's level moved. Instants are nanoseconds: measured (`began_at`, `at`) and known (`known_at`)."""

    signal: int
    began_at: int
    before: float
    after: float
    at: int
    known_at: int


class Shifts:
    """The regime of every watched signal, and the step that finds where it ends."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.rows = Rows(
            [
                ("floor", "f8"),
                ("values", "i8"),  # that make a regime
                ("ring", "f8", (_RING,)),
                ("times", "i8", (_TIMES,)),
                ("count", "i8"),  # values ever
                ("length", "i8"),  # values of this regime
                ("usual", "f8"),  # spread from value to value
                ("seconds", "f8"),  # from value to value
                ("centre", "f8"),
                ("spread", "f8"),
                ("odd", "u1"),  # the last values, as bits
                ("calm", "u1"),
            ],
            usual=-1.0,
        )
        self._leading = Leading(LEVELLED)

    def extend(self, signals: Sequence[Signal]) -> None:
        """Learn of signals, in the order of their numbers."""
        for signal in signals:
            watched, instead = self._leading.take(signal)
            if watched is not None:
                row = self.rows.add(signal.id)
                self.rows.state["floor"][row] = watched.floor
                self.rows.state["values"][row] = watched.values
            if instead is not None:
                self.rows.drop(instead)

    def step(self, signals: Ints, at: Ints, values: Floats, known_at: Ints, sent_at: int) -> list[Shift]:
        """Take values in; return the shifts, in order. A negative value is none: nothing that is watched has one."""
        rows = self.rows.rows_of(signals)
        watched = (rows >= 0) & (values >= 0)
        if not watched.any():
            return []
        rows, at, values, known_at = rows[watched], at[watched], values[watched], known_at[watched]
        shifts: list[Shift] = []
        for now in self.rows.rounds(rows, at, sent_at):
            shifts += self._step_once(rows[now], at[now], values[now], known_at[now])
        return shifts

    def _step_once(self, rows: Ints, at: Ints, values: Floats, known_at: Ints) -> list[Shift]:
        """Take one value of each of these rows."""
        look = self._look(rows, at, values)
        if not look.any():
            return []
        return self._test(rows[look], at[look], known_at[look])

    def _look(self, rows: Ints, at: Ints, values: Floats) -> Bools:
        """Remember the values; tell which rows are worth the test. Nearly all are not, and cost no more than this."""
        state = self.rows.state
        count = state["count"][rows]
        before = state["ring"][rows, (count - 1) % _RING]
        step = np.abs(values - before)
        seconds = (at - state["times"][rows, (count - 1) % _TIMES]) / 1e9
        known = count > 0
        usual, often = state["usual"][rows], state["seconds"][rows]
        moved = step * _STEP_NORMAL
        fresh = known & (usual < 0)
        followed = usual * np.exp(np.where(moved > usual * _MEDIAN_OF_NORMAL, _ADAPT, -_ADAPT))
        floor = self._floor(rows, values)
        state["usual"][rows] = np.where(fresh, np.maximum(moved, floor), np.where(known, followed, usual))
        often = often + 0.1 * (np.minimum(seconds, 2 * often) - often)
        state["seconds"][rows] = np.where(fresh, seconds, np.where(known, often, 0))
        state["ring"][rows, count % _RING] = values
        state["times"][rows, count % _TIMES] = at
        state["count"][rows] = count + 1
        length = state["length"][rows] + 1
        state["length"][rows] = length
        spread = state["spread"][rows]
        odd = np.abs(values - state["centre"][rows]) > _ODD * spread
        odds = ((state["odd"][rows] << 1) | odd) & 0x3F
        calms = ((state["calm"][rows] << 1) | (step < _CALM * spread)) & 0x1F
        state["odd"][rows] = odds
        state["calm"][rows] = calms
        due = (length >= _YOUNG) & ((length == _YOUNG) | ((count + 1) % _REFRESH == 0))
        if due.any():
            self._refresh(rows[due])
        quieter = (np.bitwise_count(calms) >= _CALMS) & (spread > 3 * floor)
        young = (length < _YOUNG) & (length >= 2 * state["values"][rows])
        look: Bools = young | (np.bitwise_count(odds) >= _ODDS) | quieter
        return look

    def _floor(self, rows: Ints, values: Floats) -> Floats:
        floor: Floats = np.maximum(self.rows.state["floor"][rows], _RELATIVE_FLOOR * np.abs(values))
        return floor

    def _recent(self, rows: Ints) -> Floats:
        """Return the rows' rings, the newest value last."""
        state = self.rows.state
        places = (state["count"][rows][:, None] + np.arange(_RING)) % _RING
        recent: Floats = np.take_along_axis(state["ring"][rows], places, axis=1)
        return recent

    def _regime(self, values: Floats, counts: Ints, rows: Ints) -> tuple[Floats, Floats]:
        """Return centre and spread of the `counts` last values."""
        centre = median(values, counts)
        deviation = median(np.abs(values - centre[:, None]), counts) * _NORMAL
        floor = self._floor(rows, centre)
        usual = self._usual(rows, floor)
        spread = (counts * deviation + _REGIME_WEIGHT * usual) / (counts + _REGIME_WEIGHT)
        return centre, np.maximum(spread, floor)

    def _usual(self, rows: Ints, floor: Floats) -> Floats:
        usual = self.rows.state["usual"][rows]
        return np.where(usual < 0, floor, usual)

    def _refresh(self, rows: Ints) -> None:
        state = self.rows.state
        counts = np.minimum(state["length"][rows] - LONGEST, REGIME)
        centre, spread = self._regime(self._recent(rows)[:, :-LONGEST], counts, rows)
        state["centre"][rows] = centre
        state["spread"][rows] = spread

    def _test(self, rows: Ints, at: Ints, known_at: Ints) -> list[Shift]:
        """Hold the last values of these rows against the regime before them."""
        state = self.rows.state
        recent, length = self._recent(rows), state["length"][rows]
        best = np.full(len(rows), -np.inf)
        size = np.zeros(len(rows), dtype=np.int64)
        levels = np.zeros((2, len(rows)))
        settled, fewest = length >= LONGEST + LONGEST, state["values"][rows]
        for new in range(SHORTEST, LONGEST + 1):
            possible = (length - new >= fewest) & (new >= fewest)
            if not possible.any():
                continue
            evidence, centre, after = self._evidence(rows, recent, np.where(settled, LONGEST, new), new)
            better = possible & (evidence > best)
            best[better], size[better] = evidence[better], new
            levels[0][better], levels[1][better] = centre[better], after[better]
        seconds = state["seconds"][rows]
        often = np.clip(_USUAL_SECONDS / np.maximum(seconds, 1e-3), 1, _USUAL_SECONDS)
        found = (best > _EVIDENCE + np.log(often)) & (seconds <= RAREST_SECONDS)
        size = _trimmed(recent[found], size[found], levels[:, found])
        return self._shifted(rows[found], size, levels[:, found], at[found], known_at[found])

    def _evidence(self, rows: Ints, recent: Floats, lag: Ints, new: int) -> tuple[Floats, Floats, Floats]:
        """Return the evidence that the last `new` values are another regime, and the two centres.

        The regime before is known by the values that are at least `lag` old.
        """
        counts = np.clip(self.rows.state["length"][rows] - lag, 1, REGIME)
        shifted = np.take_along_axis(recent, (np.arange(REGIME) + _RING - REGIME - lag[:, None]), axis=1)
        centre, spread = self._regime(shifted, counts, rows)
        values = recent[:, -new:]
        after = np.median(values, axis=1)
        floor = self._floor(rows, centre)
        usual = self._usual(rows, floor)
        deviation = np.abs(values - after[:, None]).mean(axis=1) * _MEAN_NORMAL
        around = np.maximum((new * deviation + _NEW_WEIGHT * usual) / (new + _NEW_WEIGHT), floor)
        far = np.log1p(((values - centre[:, None]) / spread[:, None]) ** 2)
        near = np.log1p(((values - after[:, None]) / around[:, None]) ** 2)
        evidence = (far - near).sum(axis=1) + new * np.log(spread / around)
        evidence -= _YOUTH * np.maximum(0, 1 - counts / _GROWN)
        return np.where(np.abs(after - centre) > _SMALLEST * floor, evidence, -np.inf), centre, after

    def _shifted(self, rows: Ints, size: Ints, levels: Floats, at: Ints, known_at: Ints) -> list[Shift]:
        """Begin the new regime in these rows."""
        state = self.rows.state
        state["length"][rows] = size
        state["odd"][rows] = 0
        state["calm"][rows] = 0
        began = state["times"][rows, (state["count"][rows] - size) % _TIMES]
        columns = (state["signal"][rows], began, levels[0], levels[1], at, known_at)
        return [Shift(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def save(self) -> dict[str, Any]:
        """Return the state as named columns, for a checkpoint."""
        return {"shifts": self.rows.save()}

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned; the signals must be known already."""
        self.rows.load(saved.get("shifts"))


def _trimmed(recent: Floats, size: Ints, levels: Floats) -> Ints:
    """Return the sizes of new regimes without the values at their beginning that are nearer to the old centre."""
    values = recent[:, -LONGEST:]
    before, after = levels[0][:, None], levels[1][:, None]
    new = np.abs(values - after) <= np.abs(values - before)
    new &= np.arange(LONGEST) >= LONGEST - size[:, None]
    trimmed: Ints = LONGEST - np.argmax(new, axis=1)
    return np.where(new.any(axis=1), np.minimum(trimmed, size), size)

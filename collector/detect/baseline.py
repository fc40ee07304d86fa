"""Baselines: what a signal usually is at this hour, and when it is not. Slow to learn, robust, nothing looked ahead.

A signal's values are taken together in blocks of some five minutes (or one value, where it is measured more rarely).
One block an hour is remembered, for two weeks, as a logarithm: what doubles is as far off at 5 ms as at 200 ms. Of
these:

* the centre, a median; for this hour moved by the median of the same hour (and its neighbours) on the same kind of day,
  working days and weekends apart, the more so the more of them there are;
* the spread, the median deviation from the centre, at least a quarter (`_LEAST`);
* the habit, the deviation that one block in ten exceeds: a signal that often jumps is not worth a word each time.

A block is unusual when it is more than `_FAR` spreads off and beyond its habit, or more than `_NEAR` spreads and beyond
its habit `_LASTING` blocks in a row: a jump is told at once, a drift when it lasts. Median and median deviation as in
Rousseeuw and Croux, "Alternatives to the median absolute deviation" (1993); a seasonal robust z-score as in Vallis,
Hochenbaum and Kejariwal, "A novel technique for long-term anomaly detection in the cloud" (2014).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from collector.detect.rows import Rows
from collector.detect.warned import Warned, over
from collector.detect.watched import USUAL, Leading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from collector.catalogue import Signal

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

HOURS = 336
"""How much is remembered: two weeks."""
BLOCK_SECONDS = 300.0
_HOUR = 3_600_000_000_000
_EAST = 7  # hours: the day is Vietnam's
_FEWEST, _FEWEST_RARE = 24, 10  # hours remembered before anything is judged; of what is measured once a day or so
_RARE_SECONDS = 6 * 3600.0
_LEAST = 0.25
_FAR, _NEAR, _FAR_BELOW = 6.0, 2.5, 10.0
_LASTING, _OVER = 4, 2  # blocks
_HABIT = 1.2  # times the deviation that one block in ten exceeds
_HABITUAL = 0.3  # what is left of a deviation within the habit
_FEW_OF_KIND = 10.0  # hours of a kind at which half their way is believed
_SPARSE = 2.4  # times the usual value of a signal that is mostly nothing
_CLIP = 8.0  # spreads: further off, one value says no more
_NOTHING = 0.01  # of a floor
_NORMAL = 1.4826
_SATURDAY = 5


class Baselines:
    """The baseline of every watched signal, and the step that tells when a signal leaves it and is back."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.rows = Rows(
            [
                ("floor", "f8"),
                ("worse", "i1"),  # 1: more is worse; -1: less is
                ("too_good", "?"),
                ("hours", "f2", (HOURS,)),
                ("hour", "i8"),  # the last one remembered
                ("filled", "i8"),
                ("centre", "f8"),  # with this hour's way, a logarithm
                ("spread", "f8"),
                ("habit", "f8"),
                ("sparse", "?"),
                ("last", "i8"),
                ("seconds", "f8"),  # from value to value
                ("total", "f8"),  # of this block, no value counted for more than `_CLIP` spreads
                ("plain", "f8"),  # likewise, as measured
                ("values", "i8"),
                ("began", "i8"),
                ("off", "u1"),  # the last blocks, as bits
                ("back", "u1"),
                ("since", "i8"),  # when the blocks that are off began
                ("warned", "?"),
            ]
        )
        self._leading = Leading(USUAL)

    def extend(self, signals: Sequence[Signal]) -> None:
        """Learn of signals, in the order of their numbers."""
        for signal in signals:
            watched, instead = self._leading.take(signal)
            if watched is not None:
                row = self.rows.add(signal.id)
                state = self.rows.state[row : row + 1]
                state["floor"], state["worse"] = watched.matters, 1 if watched.above else -1
                state["too_good"] = watched.too_good
                state["hours"] = np.nan
            if instead is not None:
                self.rows.drop(instead)

    def step(self, signals: Ints, at: Ints, values: Floats, known_at: Ints, sent_at: int, level: Any) -> list[Warned]:
        """Take values in; return the signals that leave their baseline or are back. `level` is by signal number.

        While a signal is red nothing is learned of it: an outage is no habit.
        """
        rows = self.rows.rows_of(signals)
        watched = (rows >= 0) & (values >= 0)
        if not watched.any():
            return []
        rows, at, values, known_at = rows[watched], at[watched], values[watched], known_at[watched]
        red = level[signals[watched]] == 3  # noqa: PLR2004  (red, in collector.detect.levels)
        found: list[Warned] = []
        for now in self.rows.rounds(rows, at, sent_at):
            whole = self._gather(rows[now], at[now], values[now])
            if whole.any():
                done = now[whole]
                found += self._block(rows[done], at[done], known_at[done], red[done])
        return found

    def _gather(self, rows: Ints, at: Ints, values: Floats) -> Bools:
        """Put the values into their blocks; tell which blocks are whole."""
        state = self.rows.state
        before, last = state["seconds"][rows], state["last"][rows]
        passed = (at - last) / 1e9
        seconds = np.where(before > 0, before + 0.1 * (np.minimum(passed, 2 * before) - before), passed)
        state["seconds"][rows] = seconds = np.where((last > 0) & (passed > 0), seconds, before)
        state["last"][rows] = at
        first = state["values"][rows] == 0
        state["began"][rows[first]] = at[first]
        most = np.exp(state["centre"][rows] + _CLIP * state["spread"][rows])
        known = (state["spread"][rows] > 0) & ~state["sparse"][rows]
        state["total"][rows] += np.where(known, np.minimum(values, most), values)
        state["plain"][rows] += values
        count = state["values"][rows] + 1
        state["values"][rows] = count
        whole: Bools = (seconds > 0) & (count * seconds >= BLOCK_SECONDS - seconds / 2)
        return whole

    def _block(self, rows: Ints, at: Ints, known_at: Ints, red: Bools) -> list[Warned]:
        """Judge whole blocks, and remember one an hour."""
        state = self.rows.state
        floor = state["floor"][rows]
        value = state["plain"][rows] / state["values"][rows]
        clipped = state["total"][rows] / state["values"][rows]
        logarithm = np.log(np.maximum(clipped, floor * _NOTHING))
        began = state["began"][rows]
        state["values"][rows], state["total"][rows], state["plain"][rows] = 0, 0, 0
        found = self._judge(rows, logarithm, value, began, at, known_at)
        # Rows are remembered at different minutes, so that a whole nation's hour does not come at once.
        hour = (at + (state["signal"][rows] * 7_919_000_000_000) % _HOUR) // _HOUR
        new = (hour > state["hour"][rows]) & ~red
        # Of fourteen nights two make a habit: what may be the beginning of a fault is not among them yet.
        new &= ~((state["seconds"][rows] > _RARE_SECONDS) & (state["off"][rows] & 1 > 0) & ~state["warned"][rows])
        if new.any():
            self._remember(rows[new], hour[new], logarithm[new])
        return found

    def _judge(
        self, rows: Ints, logarithm: Floats, value: Floats, began: Ints, at: Ints, known_at: Ints
    ) -> list[Warned]:
        state = self.rows.state
        usual = np.exp(state["centre"][rows])
        spread = state["spread"][rows]
        known = spread > 0
        off = self._off(rows, logarithm, value, usual, np.where(known, spread, 1)) * known
        off[np.abs(value - usual) < state["floor"][rows]] = 0
        near = off > _NEAR
        bits = ((state["off"][rows] << 1) | near) & ((1 << _LASTING) - 1)
        back = ((state["back"][rows] << 1) | ~near) & ((1 << _OVER) - 1)
        fresh = near & (state["off"][rows] == 0)
        state["since"][rows[fresh]] = began[fresh]
        state["off"][rows], state["back"][rows] = bits, back
        before = state["warned"][rows]
        far = (off > _FAR) | ((off < -_FAR_BELOW) & state["too_good"][rows])
        enters = known & ~before & (far | (bits == (1 << _LASTING) - 1))
        leaves = before & ((back == (1 << _OVER) - 1) & ~far | ~known)
        changed = enters | leaves
        state["warned"][rows[changed]] = enters[changed]
        since = np.where(enters & near, state["since"][rows], began)
        columns = (state["signal"][rows], enters, value, usual, since, at, known_at)
        return [
            Warned(signal, "unusual", *rest)
            for signal, *rest in zip(*(column[changed].tolist() for column in columns), strict=True)
        ]

    def _off(self, rows: Ints, logarithm: Floats, value: Floats, usual: Floats, spread: Floats) -> Floats:
        """Return how many spreads on the bad side each block is."""
        state = self.rows.state
        away = logarithm - state["centre"][rows]
        off = away / spread * state["worse"][rows]
        off = np.where(np.abs(away) < _HABIT * state["habit"][rows], off * _HABITUAL, off)
        found: Floats = np.where(state["sparse"][rows], np.where(value > _SPARSE * usual, 2 * _FAR, 0), off)
        return found

    def _remember(self, rows: Ints, hour: Ints, logarithm: Floats) -> None:
        """Remember the hour, and find centre, spread and habit again."""
        state = self.rows.state
        last = state["hour"][rows]
        for row, since, now in zip(rows.tolist(), last.tolist(), hour.tolist(), strict=True):
            if since and now - since > 1:  # hours without a value
                gap = np.arange(since + 1, min(now, since + HOURS + 1)) % HOURS
                state["hours"][row, gap] = np.nan
        state["hours"][rows, hour % HOURS] = logarithm
        state["hour"][rows] = hour
        hours = state["hours"][rows].astype(np.float64)
        filled = np.isfinite(hours).sum(axis=1)
        state["filled"][rows] = filled
        rare = state["seconds"][rows] > _RARE_SECONDS
        enough = filled >= np.where(rare, _FEWEST_RARE, _FEWEST)
        if enough.any():
            self._learn(rows[enough], hour[enough], hours[enough], filled[enough])

    def _learn(self, rows: Ints, hour: Ints, hours: Floats, filled: Ints) -> None:
        state = self.rows.state
        something = np.log(state["floor"][rows] * 2 * _NOTHING)[:, None]
        centre = _quantile(hours, filled, 0.5)
        sparse = centre <= something[:, 0]
        away = hours - centre[:, None]
        deviation = np.abs(away)
        spread = np.maximum(_NORMAL * _quantile(deviation, filled, 0.5), _LEAST)
        state["habit"][rows] = _quantile(deviation, filled, 0.9)
        way = _way(hour + 1, away)
        values = np.where(hours > something, hours, np.nan)
        count = np.isfinite(values).sum(axis=1)
        state["sparse"][rows] = sparse
        state["centre"][rows] = np.where(sparse, _quantile(values, np.maximum(count, 1), 0.5), centre + way)
        state["spread"][rows] = np.where(sparse & (count < 3), 0, spread)  # noqa: PLR2004  (to know what is usual)

    def expire(self, newest: Ints, stale: int, now: int) -> list[Warned]:
        """End the warnings of what is measured no more. `newest` is by signal: when its node last measured anything."""
        rows = np.flatnonzero(self.rows.state["warned"][: self.rows.known])
        state = self.rows.state
        often = (3e9 * state["seconds"][rows]).astype(np.int64)
        gone = rows[state["at"][rows] < newest[state["signal"][rows]] - np.maximum(stale, often)]
        state["warned"][gone], state["off"][gone] = False, 0
        return [over(signal, "unusual", now) for signal in state["signal"][gone].tolist()]

    def seconds(self, signal: int) -> float:
        """Return how long it usually is from one value of a watched signal to the next."""
        return float(self.rows.state["seconds"][self.rows.of[signal]])

    def save(self) -> dict[str, Any]:
        """Return the state as named columns, for a checkpoint."""
        return {"baselines": self.rows.save()}

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned; the signals must be known already."""
        self.rows.load(saved.get("baselines"))


def _quantile(values: Floats, counts: Ints, share: float) -> Floats:
    """Return a quantile of each row's numbers; `counts` says how many there are."""
    ordered = np.sort(values, axis=1)  # what is no number is sorted to the end
    place = (counts - 1) * share
    low = place.astype(np.int64)
    rows = np.arange(len(values))
    first, second = ordered[rows, low], ordered[rows, np.minimum(low + 1, counts - 1)]
    found: Floats = first + (second - first) * (place - low)
    return found


def _way(hour: Ints, away: Floats) -> Floats:
    """Return how far the same hour of the same kind of day usually is from the centre."""
    places = np.arange(HOURS)
    then = hour[:, None] - (hour[:, None] - places) % HOURS  # the hour that each place remembers
    near = np.abs((then - hour[:, None] + 12) % 24 - 12) <= 1
    same = _weekend(then) == _weekend(hour)[:, None]
    alike = np.where(near & same, away, np.nan)
    count = np.isfinite(alike).sum(axis=1)
    middle = _quantile(alike, np.maximum(count, 1), 0.5)
    known = count > 3  # noqa: PLR2004  (fewer say nothing)
    found: Floats = np.where(known, middle * (count - 3) / (count - 3 + _FEW_OF_KIND), 0)
    return np.nan_to_num(found)


def _weekend(hour: Ints) -> Any:
    return ((hour + _EAST) // 24 + 3) % 7 >= _SATURDAY  # 1 January 1970 was a Thursday

"""Trends: what will be full. A straight line through two weeks, robust, and the day on which it meets the ceiling.

The line is Theil's and Sen's: the median of the slopes of all pairs of values (Theil 1950; Sen, "Estimates of the
regression coefficient based on Kendall's tau", 1968), so a log that was rotated last night bends nothing. A warning
needs a slope that three pairs of four agree on; it comes `DAYS_LEFT` days before the ceiling is met, and goes when
there are twice as many again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from checks.limits import base_metric
from collector.detect.rows import Rows
from collector.detect.warned import Warned, over

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from collector.catalogue import Signal

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

DAYS_LEFT = 7.0
SLOTS = 56
SLOT_SECONDS = 6 * 3600
_SLOT = SLOT_SECONDS * 1_000_000_000
_FEWEST = 12  # slots: three days
_AGREE = 0.25


class Ceiling(NamedTuple):
    """What a metric is full at, and from where on its growth is looked at."""

    full: float
    least: float


CEILINGS = {
    "disk_used_ratio": Ceiling(0.95, 0.5),
    "inode_used_ratio": Ceiling(0.95, 0.5),
    "memory_used_ratio": Ceiling(0.97, 0.6),
    "in_p95_ratio": Ceiling(0.9, 0.5),
    "out_p95_ratio": Ceiling(0.9, 0.5),
    "offset_abs_seconds": Ceiling(1.0, 0.1),
}
"""Disks and inodes at their red limit; a line at the rule's 90 % of its 95th percentile; a clock a second off."""


class Trends:
    """Two weeks of each signal that can become full, and the step that tells which will."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.rows = Rows(
            [
                ("full", "f8"),
                ("least", "f8"),
                ("values", "f4", (SLOTS,)),
                ("slot", "i8"),
                ("warned", "?"),
            ]
        )

    def extend(self, signals: Sequence[Signal]) -> None:
        """Learn of signals, in the order of their numbers."""
        for signal in signals:
            ceiling = CEILINGS.get(base_metric(signal.metric))
            if ceiling is not None:
                row = self.rows.add(signal.id)
                state = self.rows.state[row : row + 1]
                state["full"], state["least"] = ceiling
                state["values"] = np.nan

    def step(self, signals: Ints, at: Ints, values: Floats, known_at: Ints, sent_at: int) -> list[Warned]:
        """Take values in; return the signals that will be full soon, and those that will not any more."""
        rows = self.rows.rows_of(signals)
        watched = rows >= 0
        if not watched.any():
            return []
        rows, at, values, known_at = rows[watched], at[watched], values[watched], known_at[watched]
        found: list[Warned] = []
        for now in self.rows.rounds(rows, at, sent_at):
            # The first value of each six hours is as good as any, and costs nothing in between.
            slot = at[now] // _SLOT
            fresh = slot > self.rows.state["slot"][rows[now]]
            if fresh.any():
                new = now[fresh]
                found += self._slot(rows[new], slot[fresh], values[new], at[new], known_at[new])
        return found

    def _slot(self, rows: Ints, slot: Ints, values: Floats, at: Ints, known_at: Ints) -> list[Warned]:
        state = self.rows.state
        for row, last, now in zip(rows.tolist(), state["slot"][rows].tolist(), slot.tolist(), strict=True):
            if last and now - last > 1:  # slots without a value
                state["values"][row, np.arange(last + 1, min(now, last + SLOTS + 1)) % SLOTS] = np.nan
        state["values"][rows, slot % SLOTS] = values
        state["slot"][rows] = slot
        found = []
        for place in np.flatnonzero((values >= state["least"][rows]) | state["warned"][rows]).tolist():
            row, value = int(rows[place]), float(values[place])
            days = days_left(state["values"][row], int(slot[place]), value, float(state["full"][row]))
            before = bool(state["warned"][row])
            now = days < (2 * DAYS_LEFT if before else DAYS_LEFT)
            if now != before:
                state["warned"][row] = now
                instants = (int(at[place]), int(at[place]), int(known_at[place]))
                found.append(Warned(int(state["signal"][row]), "full", now, value, min(days, 999.0), *instants))
        return found

    def expire(self, newest: Ints, now: int) -> list[Warned]:
        """End the warnings of what is measured no more. `newest` is by signal: when its node last measured anything."""
        state = self.rows.state
        rows = np.flatnonzero(state["warned"][: self.rows.known])
        gone = rows[state["at"][rows] < newest[state["signal"][rows]] - 2 * _SLOT]
        state["warned"][gone] = False
        return [over(signal, "full", now) for signal in state["signal"][gone].tolist()]

    def save(self) -> dict[str, Any]:
        """Return the state as named columns, for a checkpoint."""
        return {"trends": self.rows.save()}

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned; the signals must be known already."""
        self.rows.load(saved.get("trends"))


def days_left(ring: Any, slot: int, value: float, full: float) -> float:
    """Return in how many days `value` meets `full`, infinity where nothing grows. `ring` holds a value a slot."""
    if value >= full:
        return 0.0
    then = slot - (slot - np.arange(SLOTS)) % SLOTS
    known = np.isfinite(ring)
    if known.sum() < _FEWEST:
        return np.inf
    values, places = np.asarray(ring[known], dtype=np.float64), then[known]
    first, second = np.triu_indices(len(values), 1)
    slopes = (values[second] - values[first]) / (places[second] - places[first])
    slope = float(np.median(slopes))
    if slope <= 0 or float(np.quantile(slopes, _AGREE)) <= 0:
        return np.inf
    return (full - value) / slope * SLOT_SECONDS / 86_400

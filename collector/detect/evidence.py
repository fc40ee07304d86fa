"""Loss by the packet: how much evidence there is that a path loses more than it may, whatever the train's length.

A train of five packets that lost one has "20 % loss", which says nearly nothing; twenty trains of twenty that lost one
each say a great deal. So what counts is packets. For each colour two sums go up and down with every packet (Page's
CUSUM test, "Continuous inspection schemes", 1954; the quickest possible for a given rate of false alarms: Moustakides
1986), each packet by its log likelihood ratio between the loss that may be (p0) and the loss that is the limit (p1):

    lost: + log(p1 / p0)        answered: + log((1 - p1) / (1 - p0))        never below 0

p1 is the limit's `enter`. p0 is its `leave`, or for yellow what this very path usually loses, where that is less: on a
path that loses nothing, 5 % is told after some hundred packets; on one that always loses 2 % it takes some eight
hundred. No value counts for more than a share of the threshold, so one lost train, however long, is never a verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from collector.detect.rows import Rows

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

ASSUMED_PACKETS = 5.0
"""Packets of a train that does not say how many it had."""
_ENOUGH = np.array([13.0, 6.0])  # evidence of (yellow, red)
_MOST = np.array([13.0 / 4, 6.0 * 0.8])  # of one value
_MOST_RARE = np.array([13.0 / 4, 6.0 * 0.4])  # of one value that comes more than `_SOON` after the one before
_SOON = 5_000_000_000
_ENOUGH_BACK = np.array([4.0, 4.0])
_MOST_BACK = np.array([2.0, 2.0])
_LEAST_USUAL = 0.001
_MARGIN = 1.5  # times what is usual may be
_BELIEF, _HORIZON = 200.0, 20_000.0  # packets: of the first guess, and what is remembered
_NEARLY = 0.7  # of the limit: what the packets in question must have lost


class Evidence:
    """The sums of every signal that is a share of packets."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.rows = Rows(
            [
                ("enter", "f8", (2,)),  # yellow, red; NaN: no such colour
                ("leave", "f8", (2,)),
                ("up", "f8", (2,)),
                ("down", "f8", (2,)),
                ("began", "i8", (2,)),  # when each sum last left 0
                ("usual", "f8"),
                ("packets", "f8"),
                ("lost", "f8"),  # since yellow's sum was last 0
                ("sent", "f8"),
            ]
        )

    def watch(self, signal: int, enter: Floats, leave: Floats) -> None:
        """Weigh a signal's packets by these limits (yellow, red; infinite where there is no such colour)."""
        row = self.rows.add(signal)
        state = self.rows.state[row : row + 1]
        finite = np.isfinite(enter)
        state["enter"], state["leave"] = np.where(finite, enter, np.nan), np.where(finite, leave, np.nan)
        state["usual"] = np.nanmin(leave)

    def weigh(
        self, signals: Ints, at: Ints, shares: Floats, packets: Floats, green: Bools
    ) -> tuple[Bools, Bools, Ints]:
        """Add a value's packets; return what is beyond and what is back, a column a colour, and since when."""
        state, rows = self.rows.state, self.rows.rows_of(signals)
        lost = shares * packets
        p1 = state["enter"][rows]
        p0 = state["leave"][rows].copy()
        usual = state["usual"][rows]
        p0[:, 0] = np.minimum(p0[:, 0], np.maximum(_MARGIN * usual, _LEAST_USUAL))
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = lost[:, None] * np.log(p1 / p0) + (packets - lost)[:, None] * np.log((1 - p1) / (1 - p0))
        gain = np.nan_to_num(gain)
        before = state["up"][rows]
        # Of blips that have nothing to do with each other, two in a row are the likelier the further apart one looks.
        soon = (at - state["at"][rows] <= _SOON)[:, None]
        state["at"][rows] = at
        up = np.clip(before + np.minimum(gain, np.where(soon, _MOST, _MOST_RARE)), 0, _ENOUGH)
        down = np.clip(state["down"][rows] - np.maximum(gain, -_MOST_BACK), 0, _ENOUGH_BACK)
        fresh = before[:, 0] == 0
        run_lost = np.where(fresh, 0, state["lost"][rows]) + lost
        run_sent = np.where(fresh, 0, state["sent"][rows]) + packets
        began = np.where((before == 0) & (up > 0), at[:, None], state["began"][rows])
        state["up"][rows], state["down"][rows], state["began"][rows] = up, down, began
        state["lost"][rows], state["sent"][rows] = run_lost, run_sent
        self._learn(rows[green], lost[green], packets[green])
        beyond = up >= _ENOUGH
        beyond[:, 0] &= run_lost >= _NEARLY * p1[:, 0] * run_sent
        back = (down >= _ENOUGH_BACK) | np.isnan(p1)
        return beyond, back, np.where(beyond[:, 1], began[:, 1], began[:, 0])

    def _learn(self, rows: Ints, lost: Floats, packets: Floats) -> None:
        """Follow what a path usually loses, slowly, and only while it is well."""
        state = self.rows.state
        seen = np.minimum(state["packets"][rows] + packets, _HORIZON)
        state["packets"][rows] = seen
        usual = state["usual"][rows]
        state["usual"][rows] = usual + (lost - usual * packets) / (_BELIEF + seen)

    def moved(self, signals: Ints, worse: Bools) -> None:
        """Begin anew after a change of level: what counts towards leaving a worse one, or entering again."""
        rows = self.rows.rows_of(signals)
        known = rows >= 0
        self.rows.state["down"][rows[known & worse]] = 0
        self.rows.state["up"][rows[known & ~worse]] = 0

    def save(self) -> dict[str, Any]:
        """Return the state as named columns, for a checkpoint."""
        return {"evidence": self.rows.save()}

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned; limits are those of now."""
        limits = self.rows.state[["signal", "enter", "leave"]][: self.rows.known].copy()
        self.rows.load(saved.get("evidence"))
        for name in ("signal", "enter", "leave"):
            self.rows.state[name][: self.rows.known] = limits[name]


def packets_of(wanted: Ints, at: Ints, signals: Ints, measured_at: Ints, values: Floats) -> Floats:
    """Return the value of each `wanted` signal at its instant, `ASSUMED_PACKETS` where there is none.

    `signals`, `measured_at` and `values` hold what there is, in any order.
    """
    if len(signals) == len(wanted) and bool((signals == wanted).all()) and bool((measured_at == at).all()):
        return values
    if not len(signals):
        return np.full(len(wanted), ASSUMED_PACKETS)
    order = np.lexsort((measured_at, signals))
    keys = np.empty(len(order), dtype=[("signal", "i8"), ("at", "i8")])
    keys["signal"], keys["at"] = signals[order], measured_at[order]
    asked = np.empty(len(wanted), dtype=keys.dtype)
    asked["signal"], asked["at"] = wanted, at
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    found: Floats = np.where(keys[place] == asked, values[order][place], ASSUMED_PACKETS)
    return found

"""Rows: what a detector remembers of the signals it watches, a row a signal, and the order in which values are taken.

A detector watches few of all signals. Its state is one table of numbers with a row for each of those; `of` leads from a
signal's number to its row. A table is grown, saved and taken back whole, so that a detector is only its arithmetic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

_SMALLEST = 256


class Rows:
    """A table of state, a row for each watched signal. Every one has `signal` and `at`, its newest value's instant."""

    def __init__(self, fields: list[tuple[Any, ...]], **starts: float) -> None:
        """Begin without a row; a new row is 0 everywhere but where `starts` says otherwise."""
        self._starts = starts
        self._dtype = np.dtype([("signal", "i8"), ("at", "i8"), *fields])
        self.state = np.zeros(0, dtype=self._dtype)
        self.of: Ints = np.zeros(0, dtype=np.int64)  # by signal: its row, or -1
        self.known = 0
        self._scratch: Ints = np.zeros(0, dtype=np.int64)

    def add(self, signal: int) -> int:
        """Return the row of a signal, a new one if it has none."""
        if signal >= len(self.of):
            more = max(signal + 1, 2 * len(self.of), _SMALLEST) - len(self.of)
            self.of = np.concatenate([self.of, np.full(more, -1, dtype=np.int64)])
        row = int(self.of[signal])
        if row >= 0:
            return row
        if self.known == len(self.state):
            fresh = np.zeros(max(len(self.state), _SMALLEST), dtype=self._dtype)
            for name, value in self._starts.items():
                fresh[name] = value
            self.state = np.concatenate([self.state, fresh])
            self._scratch = np.zeros(len(self.state), dtype=np.int64)
        row = self.of[signal] = self.known
        self.state["signal"][row] = signal
        self.known += 1
        return int(row)

    def drop(self, signal: int) -> None:
        """Watch a signal no more; its row stays, unused."""
        self.of[signal] = -1

    def rows_of(self, signals: Ints) -> Ints:
        """Return the row of each signal, -1 where it is not watched."""
        largest = int(signals.max(initial=0))
        if largest >= len(self.of):
            more = np.full(largest + 1 - len(self.of), -1, dtype=np.int64)
            self.of = np.concatenate([self.of, more])
        return self.of[signals]

    def rounds(self, rows: Ints, at: Ints, sent_at: int) -> Iterator[Ints]:
        """Yield the places of values that are news, each row at most once a round, the oldest of a row first.

        A value that is not newer than its row's last is passed over, unless that last one lies in the future of
        `sent_at`, the sender's clock: that clock has been put right since. Whoever takes a round sets `at` by `taken`.
        """
        left = np.arange(len(rows))
        if not self._first_of_each(rows).all():
            left = np.argsort(at, kind="stable")
        while len(left):
            first = self._first_of_each(rows[left])
            now, left = left[first], left[~first]
            last = self.state["at"][rows[now]]
            now = now[(at[now] > last) | (last > sent_at)]
            if len(now):
                self.state["at"][rows[now]] = at[now]
                yield now

    def save(self) -> Any:
        """Return the table, for a checkpoint."""
        return self.state[: self.known].copy()

    def load(self, saved: Any) -> None:
        """Take back what `save` returned, for the signals that are watched now; another version's table is left."""
        if saved is None or saved.dtype != self._dtype:
            return
        rows = self.rows_of(saved["signal"])
        self.state[rows[rows >= 0]] = saved[rows >= 0]

    def _first_of_each(self, rows: Ints) -> npt.NDArray[np.bool_]:
        order = np.arange(len(rows))
        self._scratch[rows[::-1]] = order[::-1]
        first: npt.NDArray[np.bool_] = self._scratch[rows] == order
        return first


def median(values: Floats, counts: Ints) -> Floats:
    """Return the median of each row's `counts` last values (the rest of the row is not looked at)."""
    width = values.shape[1]
    ordered = np.sort(np.where(np.arange(width) >= width - counts[:, None], values, np.inf), axis=1)
    rows = np.arange(len(values))
    found: Floats = (ordered[rows, (counts - 1) // 2] + ordered[rows, counts // 2]) / 2
    return found

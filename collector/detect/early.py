"""Early warning: all detectors that see yellow before red, as one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from collector.detect.baseline import Baselines
from collector.detect.flapping import Flapping
from collector.detect.shifts import RAREST_SECONDS, Shift, Shifts
from collector.detect.symptoms import Symptoms
from collector.detect.trends import Trends

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from collector.catalogue import Signal
    from collector.detect.warned import Warned

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]


class EarlyWarning:
    """Shifts, baselines, trends and flapping. None of them ever makes anything red."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.shifts = Shifts()
        self.baselines = Baselines()
        self.trends = Trends()
        self.flapping = Flapping()
        self.symptoms = Symptoms()
        self._watched = np.zeros(0, dtype=np.bool_)  # by signal: by any of the first three

    def extend(self, signals: Sequence[Signal]) -> None:
        """Learn of signals, in the order of their numbers."""
        detectors = (self.shifts, self.baselines, self.trends)
        for detector in detectors:
            detector.extend(signals)
        self.symptoms.extend(signals)
        numbers = np.arange(len(self._watched), len(self._watched) + len(signals))
        new = np.logical_or.reduce([detector.rows.rows_of(numbers) >= 0 for detector in detectors])
        self._watched = np.concatenate([self._watched, new])

    def step(
        self, signals: Ints, at: Ints, values: Floats, known_at: Ints, sent_at: int, level: Any
    ) -> tuple[list[Shift], list[Warned]]:
        """Take values in; `level` is each signal's, by number."""
        watched = self._watched[signals]
        if not watched.any():
            return [], []
        signals, at, values, known_at = signals[watched], at[watched], values[watched], known_at[watched]
        shifts = self.shifts.step(signals, at, values, known_at, sent_at)
        warned = self.baselines.step(signals, at, values, known_at, sent_at, level)
        rare = [w for w in warned if w.now and self.baselines.seconds(w.signal) > RAREST_SECONDS]
        warned = self.symptoms.step(warned, level, int(known_at[0]))
        shifts += [Shift(w.signal, w.began_at, w.usual, w.value, w.at, w.known_at) for w in rare]
        return shifts, [*warned, *self.trends.step(signals, at, values, known_at, sent_at)]

    def expire(self, newest: Ints, stale: int, level: Any, now: int) -> list[Warned]:
        """End the warnings of what is measured no more. `newest` is by signal: when its node last measured anything."""
        gone = self.baselines.expire(newest, stale, now)
        return [*self.symptoms.step(gone, level, now), *self.trends.expire(newest, now)]

    def save(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the state for a checkpoint: columns by name, and plain data."""
        columns = {**self.shifts.save(), **self.baselines.save(), **self.trends.save()}
        return columns, {"flapping": self.flapping.save(), "symptoms": self.symptoms.save()}

    def load(self, columns: dict[str, Any], plain: dict[str, Any]) -> None:
        """Take back what `save` returned; an older checkpoint knows nothing of this."""
        for detector in (self.shifts, self.baselines, self.trends):
            detector.load(columns)
        if "flapping" in plain:
            self.flapping.load(plain["flapping"])
            self.symptoms.load(plain["symptoms"])

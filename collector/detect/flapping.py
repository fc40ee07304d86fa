"""Flapping: a signal that keeps changing between green and red. It is told once, as a yellow of its own.

Counted, not averaged: `MOST` changes into or out of red within half an hour begin it, half an hour without one ends it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.detect.levels import RED, LevelChanged
from collector.detect.warned import Warned, over

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 8
SPAN = 1_800_000_000_000


class Flapping:
    """The last changes of every signal that has changed lately."""

    def __init__(self) -> None:
        """Begin with none."""
        self._changes: dict[int, list[int]] = {}
        self._flapping: set[int] = set()
        self._due = 0

    def step(self, changes: Iterable[LevelChanged]) -> list[Warned]:
        """Take changes of level in; return the signals that have begun to flap."""
        found = []
        for change in changes:
            if RED not in (change.was, change.now):
                continue
            recent = [at for at in self._changes.get(change.signal, []) if change.known_at - at < SPAN]
            recent = [*recent, change.known_at][-MOST:]
            self._changes[change.signal] = recent
            if len(recent) == MOST and change.signal not in self._flapping:
                self._flapping.add(change.signal)
                value = float("nan") if change.value is None else change.value
                instants = (recent[0], change.at, change.known_at)
                found.append(Warned(change.signal, "flapping", True, value, float(MOST), *instants))  # noqa: FBT003  (it begins)
        return found

    def tick(self, now: int) -> list[Warned]:
        """Let time pass until `now`: who has been steady for half an hour flaps no more."""
        if now < self._due:
            return []
        self._due = now - now % (SPAN // 30) + SPAN // 30
        found = []
        for signal, changes in list(self._changes.items()):
            steady_at = changes[-1] + SPAN
            if steady_at > now:
                continue
            del self._changes[signal]
            if signal in self._flapping:
                self._flapping.discard(signal)
                found.append(over(signal, "flapping", steady_at))
        return found

    def save(self) -> dict[str, Any]:
        """Return the state as plain data, for a checkpoint."""
        return {"changes": list(self._changes.items()), "flapping": sorted(self._flapping)}

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned."""
        self._changes = {signal: list(changes) for signal, changes in saved["changes"]}
        self._flapping = set(saved["flapping"])
        self._due = 0

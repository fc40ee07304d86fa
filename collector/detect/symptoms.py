"""Symptoms of one target: the nearest to the cause speaks, the others wait.

What cannot be reached has no loss worth a word; where packets are lost, round trips say little; where round trips are
long, jitter follows. So a warning is held back while a symptom before it, of the same target seen by the same node, is
yellow or red; it speaks when that one is over and it is still there, and is forgotten when it ends before.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from checks.limits import base_metric
from collector.detect.levels import YELLOW
from collector.detect.warned import Warned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.catalogue import Signal

_REACHED, _LOST, _SLOW, _UNEVEN = range(4)
_ORDER = {"success": _REACHED, "reached": _REACHED}
_ENDINGS = (("loss_ratio", _LOST), ("loss_forward_ratio", _LOST), ("loss_backward_ratio", _LOST))
_UNEVEN_WORDS = ("jitter", "ipdv", "pdv", "mos")
_SLOW_WORDS = ("rtt_", "response_", "total_", "connect_")


def order_of(metric: str) -> int | None:
    """Return how near to the cause a metric stands, 0 the nearest; None where it stands for itself."""
    name = base_metric(metric)
    if name in _ORDER:
        return _ORDER[name]
    for ending, order in _ENDINGS:
        if name.endswith(ending):
            return order
    if name.startswith(_UNEVEN_WORDS):
        return _UNEVEN
    return _SLOW if name.startswith(_SLOW_WORDS) and name.endswith("_seconds") else None


class Symptoms:
    """Which signals are symptoms of the same target, and the warnings that wait."""

    def __init__(self) -> None:
        """Know no signal yet."""
        self._of: dict[int, tuple[int, list[tuple[int, int]]]] = {}  # by signal: its order, and its target's symptoms
        self._targets: defaultdict[tuple[str, str, str], list[tuple[int, int]]] = defaultdict(list)
        self._held: dict[int, Warned] = {}
        self._warning: set[int] = set()  # held ones too

    def extend(self, signals: Sequence[Signal]) -> None:
        """Learn of signals, in the order of their numbers."""
        for signal in signals:
            order = order_of(signal.metric)
            if order is not None:
                series = signal.series
                symptoms = self._targets[series.site, series.node, series.target]
                symptoms.append((order, signal.id))
                self._of[signal.id] = order, symptoms

    def step(self, warned: Sequence[Warned], level: Any, now: int) -> list[Warned]:
        """Return the warnings that speak now. `level` is by signal number; `now` is when this is known."""
        told = []
        for one in sorted(warned, key=lambda one: self._of.get(one.signal, (0, ()))[0]):
            (self._warning.add if one.now else self._warning.discard)(one.signal)
            if not one.now and self._held.pop(one.signal, None) is not None:
                continue
            if one.now and self._follows(one.signal, level):
                self._held[one.signal] = one
            else:
                told.append(one)
        for one in [one for one in self._held.values() if not self._follows(one.signal, level)]:
            del self._held[one.signal]
            told.append(one._replace(known_at=max(now, one.known_at)))
        return told

    def _follows(self, signal: int, level: Any) -> bool:
        """Tell whether a symptom before this one is there."""
        own, symptoms = self._of.get(signal, (0, []))
        return any(order < own and (level[other] >= YELLOW or other in self._warning) for order, other in symptoms)

    def save(self) -> dict[str, Any]:
        """Return the state as plain data, for a checkpoint."""
        return {"held": [list(one) for one in self._held.values()], "warning": sorted(self._warning)}

    def load(self, saved: dict[str, Any]) -> None:
        """Take back what `save` returned."""
        self._held = {one[0]: Warned(*one) for one in saved["held"]}
        self._warning = set(saved["warning"])

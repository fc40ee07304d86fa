"""Which metrics the detectors of early warning watch, and what is too small to matter in each.

What differs by less than `floor` is the same level, whatever the statistics say; what differs by less than `matters`
from what is usual is nobody's concern. Both are in the metric's own unit. Of several metrics that say one thing
(`family`) only the first one that a series has is watched: one fault, one signal that speaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.catalogue import Signal


@dataclass(frozen=True, slots=True)
class Watched:
    """A metric that is watched: what is too small to matter, and whether more of it is worse."""

    family: str
    metric: str
    floor: float
    matters: float
    above: bool = True
    too_good: bool = False
    """Whether a value far on the good side is no better: an answer in no time was given by somebody else."""
    values: int = 5
    """How many values of a new level there must be before it is believed."""


_ROUND_TRIP = ("rtt_median_seconds", "rtt_mean_seconds", "rtt_min_seconds", "rtt_seconds")
_ANSWER = ("total_seconds", "response_seconds", "connect_seconds")
_JITTER = ("jitter_forward_seconds", "ipdv_mean_seconds")

LEVELLED = (
    *(Watched("round trip", metric, 1e-4, 2e-3, too_good=True) for metric in _ROUND_TRIP),
    *(Watched("answer", metric, 1e-3, 4e-3, too_good=True) for metric in _ANSWER),
    Watched("loss", "loss_ratio", 0.1, 0.02, values=3),
)
"""What `shifts.py` watches."""

USUAL = (
    *LEVELLED[:-1],
    *(Watched("jitter", metric, 1e-3, 5e-3) for metric in _JITTER),
    Watched("jitter back", "jitter_backward_seconds", 1e-3, 5e-3),
    Watched("loss", "loss_ratio", 0.1, 0.02),
    *(Watched(f"rate {way}", f"capacity_{way}_bits_per_second", 1e6, 5e6, above=False) for way in ("up", "down")),
    *(Watched(f"TCP {way}", f"throughput_{way}_bits_per_second", 1e6, 5e6, above=False) for way in ("up", "down")),
    Watched("battery", "battery_runtime_seconds", 60, 120, above=False),
    Watched("clock", "offset_abs_seconds", 1e-3, 0.02),
)
"""What `baseline.py` watches."""


class Leading:
    """The metric that speaks for each family of each series."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        """Choose among `watched`, the first of a family before the others."""
        self._by_metric = {one.metric: (rank, one) for rank, one in enumerate(watched)}
        self._leads: dict[tuple[int, str], tuple[int, int]] = {}

    def take(self, signal: Signal) -> tuple[Watched | None, int | None]:
        """Return what is watched of a new signal, if anything, and the signal that it takes the place of, if any."""
        rank, watched = self._by_metric.get(signal.metric, (0, None))
        if watched is None:
            return None, None
        key = (signal.series_id, watched.family)
        before = self._leads.get(key)
        if before is not None and before[0] <= rank:
            return None, None
        self._leads[key] = (rank, signal.id)
        return watched, None if before is None else before[1]

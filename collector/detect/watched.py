"""Which metrics the detectors of early warning watch, and what is too small to matter in each.

`floor` is in the metric's own unit: what differs by less is the same, whatever the statistics say. Of several metrics
that say one thing (`family`) only the first one that a series has is watched: one fault, one signal that speaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks.limits import base_metric

if TYPE_CHECKING:
    from collector.catalogue import Signal

_RELATIVE = 5e-4


@dataclass(frozen=True, slots=True)
class Watched:
    """A metric that is watched: what is too small to matter, and whether more of it is worse."""

    family: str
    metric: str
    floor: float
    above: bool = True


WATCHED = (
    Watched("round trip", "rtt_median_seconds", 2e-4),
    Watched("round trip", "rtt_mean_seconds", 2e-4),
    Watched("round trip", "rtt_min_seconds", 2e-4),
    Watched("round trip", "rtt_seconds", 2e-4),
    Watched("answer", "total_seconds", 1e-3),
    Watched("answer", "response_seconds", 1e-3),
    Watched("answer", "connect_seconds", 2e-4),
    Watched("loss", "loss_ratio", 0.1),
    Watched("jitter", "jitter_forward_seconds", 5e-4),
    Watched("jitter back", "jitter_backward_seconds", 5e-4),
    Watched("jitter", "ipdv_mean_seconds", 5e-4),
)
_BY_METRIC = {watched.metric: (rank, watched) for rank, watched in enumerate(WATCHED)}


class Leading:
    """The metric that speaks for each family of each series."""

    def __init__(self) -> None:
        """Begin with no series."""
        self._leads: dict[tuple[int, str], tuple[int, int]] = {}

    def take(self, signal: Signal) -> tuple[Watched | None, int | None]:
        """Return what is watched of a new signal, if anything, and the signal that it takes the place of, if any."""
        rank, watched = _BY_METRIC.get(base_metric(signal.metric), (0, None))
        if watched is None:
            return None, None
        key = (signal.series_id, watched.family)
        before = self._leads.get(key)
        if before is not None and before[0] <= rank:
            return None, None
        self._leads[key] = (rank, signal.id)
        return watched, None if before is None else before[1]

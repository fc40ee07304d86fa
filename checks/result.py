"""What one measurement found: numbers, no verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One measurement of one target by one check.

    Three outcomes, never mixed:

    * the target answered: `metrics` holds what was measured;
    * the target did not: `metrics` says so in numbers (`loss_ratio` 1, `success` 0), what could not be measured is
      absent, and `reason` says in words what was seen ("connection refused");
    * *we* could not measure: `error` says why, and there are no metrics.

    `notes` is what only words can say beside the numbers: the addresses of a path, the makers of a mess.
    `measured_at` is nanoseconds since the epoch in UTC, taken when the measurement began.
    """

    site: str
    node: str
    check: str
    target: str
    measured_at: int
    duration_seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reason: str | None = None
    error: str | None = None

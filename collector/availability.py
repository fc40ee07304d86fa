"""How much of a time something was up: arithmetic on minutes. Pure. What each word means: docs/availability.md.

Every minute of a period is exactly one of up, down, unknown and planned, so the four always add up to the period.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    Minutes = npt.NDArray[np.bool_]

_MOST_GAPS = 0.9
_LONGEST_HELD = 360
"""Minutes. Who measures more rarely than every six hours does not watch."""


class Seen(NamedTuple):
    """What was seen of something, minute by minute; where neither is true, nothing was."""

    up: Minutes
    down: Minutes

    @property
    def measured(self) -> Minutes:
        """Return in which minutes anything was seen."""
        return self.up | self.down


class Period(NamedTuple):
    """A part of the minutes: from one to before another."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Account:
    """A period's minutes, each counted once; how often it was down, and for how many minutes at most at a stretch."""

    up: int
    down: int
    unknown: int
    planned: int
    outages: int = 0
    longest: int = 0

    @property
    def period(self) -> int:
        """Return how long it all was."""
        return self.up + self.down + self.unknown + self.planned

    @property
    def availability(self) -> float | None:
        """Return the share of what was seen, outside planned work, in which it was up; None where nothing was seen."""
        seen = self.up + self.down
        return self.up / seen if seen else None

    @property
    def coverage(self) -> float | None:
        """Return the share of the time outside planned work that was seen; None where all of it was planned."""
        counted = self.up + self.down + self.unknown
        return (self.up + self.down) / counted if counted else None


def nothing(count: int) -> Seen:
    """Return `count` minutes in which nothing was seen."""
    return Seen(np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_))


def held(seen: Seen) -> Seen:
    """Let each verdict hold until the next one, where that is on time: as in nine of ten cases, or a minute late.

    So a check every five minutes is not unknown in four of them; where none follows, the verdict holds as long as it
    usually does, and no longer.
    """
    measured = np.flatnonzero(seen.measured)
    if len(measured) < 2:  # noqa: PLR2004  (a gap lies between two)
        return seen
    longest = min(int(np.quantile(np.diff(measured), _MOST_GAPS, method="higher")), _LONGEST_HELD)
    minutes = np.arange(len(seen.up))
    which = np.searchsorted(measured, minutes, side="right") - 1
    last = measured[which]
    following = np.append(measured, len(seen.up) + 2 * _LONGEST_HELD)[which + 1]
    filled = (which >= 0) & ((minutes - last < longest) | (following - last <= longest + 1))
    at = np.where(filled, last, 0)
    return Seen(seen.up[at] & filled, seen.down[at] & filled)


def all_of(parts: Sequence[Seen]) -> Seen:
    """Join several checks of one thing by one node: it works only if none of them says otherwise."""
    down = np.logical_or.reduce([part.down for part in parts])
    return Seen(np.logical_or.reduce([part.up for part in parts]) & ~down, down)


def any_of(parts: Sequence[Seen]) -> Seen:
    """Join several witnesses of one thing: who sees it work is right, for the others may be at fault themselves."""
    up = np.logical_or.reduce([part.up for part in parts])
    return Seen(up, np.logical_or.reduce([part.down for part in parts]) & ~up)


def silenced(seen: Seen, spans: Iterable[Period]) -> Seen:
    """Count as down what nobody measured while the site is known to have been cut off or without power."""
    cut = within(spans, len(seen.up))
    return Seen(seen.up, seen.down | (cut & ~seen.measured))


def within(spans: Iterable[Period], count: int) -> Minutes:
    """Mark the minutes of spans, which may overlap and reach beyond both ends."""
    marked = np.zeros(count, dtype=np.bool_)
    for first, last in spans:
        marked[max(first, 0) : max(last, 0)] = True
    return marked


def account(seen: Seen, planned: Minutes, period: Period) -> Account:
    """Count a period's minutes. Planned work counts as nothing else, whatever was seen meanwhile."""
    part = slice(period.first, period.last)
    counted = ~planned[part]
    up, down = seen.up[part] & counted, seen.down[part] & ~seen.up[part] & counted
    edges = np.flatnonzero(np.diff(down.astype(np.int8), prepend=0, append=0))
    runs = edges[1::2] - edges[::2]
    total, ups, downs, plans = len(counted), int(up.sum()), int(down.sum()), int((~counted).sum())
    return Account(ups, downs, total - ups - downs - plans, plans, len(runs), int(runs.max(initial=0)))


def eaten(seen: Seen, planned: Minutes, period: Period, span: Period) -> int:
    """Return how many of a period's down minutes lie within an incident's span."""
    first, last = max(period.first, span.first, 0), min(period.last, span.last)
    return int((seen.down & ~seen.up & ~planned)[first : max(first, last)].sum())

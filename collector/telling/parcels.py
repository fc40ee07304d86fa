"""What waits for one channel, as the messages that go: one an incident, a summary of a pile, a digest. Pure.

How often a channel may ring is a leaky bucket (the generic cell rate algorithm, as ATM networks police cells, ITU-T
I.371): a burst of so many, and then one each so many seconds. What waits for the next becomes one summary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.incident import Incident
    from collector.telling.settings import Limit
    from collector.telling.words import Said

_SECOND: Final = 1_000_000_000
_BEGINNINGS: Final = frozenset({"escalated", "reopened", "due"})


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row of the outbox that has not gone. Instants are nanoseconds."""

    id: int
    incident: Incident
    what: Said
    at: int
    due_at: int
    loud: bool
    attempts: int
    minutes: int
    begun: bool
    """Whether this channel has been told of the incident's beginning."""


@dataclass(frozen=True, slots=True)
class Item:
    """All that waits of one incident, as the one thing to tell now."""

    incident: Incident
    what: Said
    at: int
    minutes: int
    loud: bool
    rows: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message: of one incident, or of several."""

    items: tuple[Item, ...]
    digest: bool = False

    @property
    def loud(self) -> bool:
        """Tell whether it rings."""
        return any(item.loud for item in self.items)

    @property
    def rows(self) -> list[Waiting]:
        """Return the rows of the outbox that it clears."""
        return [row for item in self.items for row in item.rows]


def gather(rows: Iterable[Waiting], now: int) -> tuple[list[Item], list[Item]]:
    """Return what may go now, an incident each: what rings or updates, and what belongs into a digest.

    All of an incident goes together or waits together, so that no end is told before its beginning.
    """
    by_incident: dict[tuple[str, bool], list[Waiting]] = {}
    for row in rows:
        by_incident.setdefault((row.incident.id, row.what == "digest"), []).append(row)
    ready = {key: _item(waiting) for key, waiting in by_incident.items() if max(row.due_at for row in waiting) <= now}
    return [item for (_, d), item in ready.items() if not d], [item for (_, d), item in ready.items() if d]


def _item(rows: list[Waiting]) -> Item:
    loud = [row for row in rows if row.loud]
    last = loud[-1] if loud else rows[-1]
    what = last.what
    if not last.begun and what == "resolved":
        what = "over"
    elif not last.begun and what in _BEGINNINGS:
        what = "opened"
    return Item(last.incident, what, rows[0].at, last.minutes, bool(loud), tuple(rows))


def parcels(items: Sequence[Item], digest: Sequence[Item], free: int) -> list[Parcel]:
    """Return the messages that go now, when `free` may still ring. What is held back goes with a later one."""
    loud = [item for item in items if item.loud]
    found = [Parcel((item,)) for item in items if not item.loud]
    if digest:
        found.append(Parcel(tuple(digest), digest=True))
    if len(loud) <= free:
        return [Parcel((item,)) for item in loud] + found
    return ([Parcel(tuple(loud))] if free > 0 else []) + found


class Bucket:
    """How often a channel has rung, and may."""

    def __init__(self, limit: Limit, rang_at: Iterable[int] = ()) -> None:
        """Begin with the instants (nanoseconds) at which it rang lately."""
        self._every = int(limit.seconds * _SECOND)
        self._burst = limit.messages
        self._full_at = 0
        for at in sorted(rang_at):
            self.ring(at)

    @property
    def memory(self) -> int:
        """Return for how long (nanoseconds) a ring counts, at most."""
        return self._every * self._burst

    def ring(self, at: int) -> None:
        """Take in that it rings."""
        self._full_at = max(self._full_at, at) + self._every

    def free(self, now: int) -> int:
        """Return how often it may ring at once."""
        return max(0, min(self._burst, self._burst - -(-(self._full_at - now) // self._every)))

    def free_at(self, now: int) -> int:
        """Return when it may ring next: `now`, or later."""
        return max(now, self._full_at - (self._burst - 1) * self._every)

"""Who may load which line when: one test at a time on an upstream and on a server, in quiet hours, within a budget.

Pure: it is told the time (seconds since the epoch) and the names of new leases. Nobody is called back: a site that must
wait is told for how long, and comes again.

* Outside the hours a site is told a place of its own within them, by a hash of its name: a province does not ask at the
  stroke of ten.
* A site that finds the line taken gets a ticket and an estimate of its turn. While the holder of an earlier ticket is
  due, nobody behind it goes first; one that does not come when it is due loses its ticket. So everybody who keeps
  coming has its turn, and nobody waits for those who went away.
* A lease ends when it is given back or when it expires, whichever is first, and only its owner gives it back.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo

_SPREAD = 0.8  # of the hours: what is left is for those who had to wait
_GRACE_SECONDS = 15.0  # how long after its time a ticket still holds
_USUAL_SECONDS = 5.0
_USUAL_OF = 50
_SHORTEST_WAIT_SECONDS = 1.0
_MOST_TICKETS = 20_000


class Span(NamedTuple):
    """Quiet hours of a day, local time; they may reach over midnight."""

    start: time
    end: time


@dataclass(frozen=True, slots=True)
class Rules:
    """What is allowed. Without hours, tests run at any time."""

    hours: tuple[Span, ...]
    zone: ZoneInfo
    bytes_per_site_day: int
    most_seconds: float


@dataclass(frozen=True, slots=True)
class Lease:
    """A site may load its upstream towards a server until `expires_at`; `ended_at` when it gave it back."""

    id: str
    site: str
    upstream: str
    server: str
    bytes: int
    granted_at: float
    expires_at: float
    ended_at: float | None = None

    def active(self, now: float) -> bool:
        """Tell whether it holds."""
        return self.ended_at is None and now < self.expires_at


class Wait(NamedTuple):
    """Not now: in words why, and after how many seconds to come again. `busy`: it is taken; else a rule forbids."""

    seconds: float
    words: str
    busy: bool


@dataclass(slots=True)
class _Ticket:
    number: int
    site: str
    upstream: str
    server: str
    due_at: float


class Leases:
    """All leases of two days, and who waits."""

    def __init__(self, rules: Rules, past: Iterable[Lease] = ()) -> None:
        """Begin with what an earlier process granted: what still holds, and what counts for the day."""
        self.rules = rules
        self._leases = {lease.id: lease for lease in past}
        self._tickets: dict[tuple[str, str], _Ticket] = {}
        self._numbers = 0
        self._usual: deque[float] = deque([_USUAL_SECONDS], maxlen=_USUAL_OF)

    def active(self, now: float) -> list[Lease]:
        """Return the leases that hold."""
        return [lease for lease in self._leases.values() if lease.active(now)]

    def waiting(self, now: float) -> int:
        """Return how many sites hold a ticket."""
        return sum(now <= ticket.due_at + _GRACE_SECONDS for ticket in self._tickets.values())

    def ask(
        self,
        *,
        id: str,  # noqa: A002  (as a lease has it)
        site: str,
        upstream: str,
        server: str,
        bytes: int,  # noqa: A002  (as a lease has it)
        seconds: float,
        now: float,
    ) -> Lease | Wait:
        """Grant a lease named `id`, or say how long to wait."""
        self._forget(now)
        closed = self._closed(site, now) or self._spent(site, bytes, now)
        if closed is not None:
            return closed
        key = (site, server)
        ticket = self._tickets.get(key)
        blocked = [each for each in self.active(now) if upstream == each.upstream or server == each.server]
        ahead = self._ahead(ticket, upstream, server, now)
        if not blocked and not any(each.due_at <= now for each in ahead):
            self._tickets.pop(key, None)
            lease = Lease(id, site, upstream, server, bytes, now, now + min(seconds, self.rules.most_seconds))
            self._leases[id] = lease
            return lease
        return self._queue(key, upstream, blocked, ahead, now)

    def give_back(self, id: str, site: str, now: float, bytes_used: int | None = None) -> Lease | None:  # noqa: A002
        """End a lease of this site, and return it as it then is; None where there is none that holds.

        What it did not use is not counted against its day.
        """
        lease = self._leases.get(id)
        if lease is None or lease.site != site or not lease.active(now):
            return None
        self._usual.append(now - lease.granted_at)
        used = lease.bytes if bytes_used is None else min(lease.bytes, bytes_used)
        self._leases[id] = replace(lease, ended_at=now, bytes=used)
        return self._leases[id]

    # Rules.

    def _closed(self, site: str, now: float) -> Wait | None:
        """Return how long this site waits for its place in the next quiet hours; None within them."""
        if not self.rules.hours:
            return None
        local = datetime.fromtimestamp(now, self.rules.zone)
        best = math.inf
        for span in self.rules.hours:
            for day in (-1, 0, 1):
                start, end = self._span(local, span, day)
                if start <= now < end:
                    return None
                if start > now:
                    best = min(best, start + (end - start) * _SPREAD * _place(site) - now)
        told = ", ".join(f"{span.start:%H:%M}-{span.end:%H:%M}" for span in self.rules.hours)
        return Wait(best, f"tests run at {told} ({self.rules.zone.key}) only", busy=False)

    def _span(self, local: datetime, span: Span, day: int) -> tuple[float, float]:
        date = (local + timedelta(days=day)).date()
        start = datetime.combine(date, span.start, self.rules.zone)
        end_date = date if span.end > span.start else date + timedelta(days=1)
        end = datetime.combine(end_date, span.end, self.rules.zone)
        return start.timestamp(), end.timestamp()

    def _spent(self, site: str, wanted: int, now: float) -> Wait | None:
        """Return how long until the next local day where this one's budget does not hold what is wanted."""
        midnight = self._midnight(now)
        used = sum(
            lease.bytes for lease in self._leases.values() if lease.site == site and lease.granted_at >= midnight
        )
        if used + wanted <= self.rules.bytes_per_site_day:
            return None
        local = datetime.fromtimestamp(now, self.rules.zone)
        tomorrow = datetime.combine(local.date() + timedelta(days=1), time(0), self.rules.zone)
        budget = self.rules.bytes_per_site_day
        words = f"the site has {max(0, budget - used)} of {budget} bytes left for today, and {wanted} are wanted"
        return Wait(tomorrow.timestamp() - now, words, busy=False)

    def _midnight(self, now: float) -> float:
        local = datetime.fromtimestamp(now, self.rules.zone)
        return datetime.combine(local.date(), time(0), self.rules.zone).timestamp()

    # Turns.

    def _ahead(self, own: _Ticket | None, upstream: str, server: str, now: float) -> list[_Ticket]:
        """Return the tickets before this one that want the same upstream or server, and still hold."""
        return [
            each
            for each in self._tickets.values()
            if (each.upstream == upstream or each.server == server)
            and (own is None or each.number < own.number)
            and each is not own
            and now <= each.due_at + _GRACE_SECONDS
        ]

    def _queue(
        self, key: tuple[str, str], upstream: str, blocked: list[Lease], ahead: list[_Ticket], now: float
    ) -> Wait:
        """Give a ticket, or a new time to the holder of one."""
        usual = sum(self._usual) / len(self._usual)
        left = max((usual - (now - each.granted_at) for each in blocked), default=0.0)
        turn = max(_SHORTEST_WAIT_SECONDS, left) + usual * len(ahead)
        ticket = self._tickets.get(key)
        if ticket is None:
            self._numbers += 1
            ticket = self._tickets[key] = _Ticket(self._numbers, key[0], upstream, key[1], now)
        ticket.due_at = now + math.ceil(turn)
        by = blocked[0].site if blocked else ahead[0].site
        words = f"another test runs on this line or server (site {by}); {len(ahead)} sites are before this one"
        return Wait(math.ceil(turn), words, busy=True)

    def _forget(self, now: float) -> None:
        """Drop the tickets of who did not come, and leases that count for no day any more."""
        stale = [key for key, ticket in self._tickets.items() if now > ticket.due_at + _GRACE_SECONDS]
        for key in stale:
            del self._tickets[key]
        while len(self._tickets) > _MOST_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        old = self._midnight(now) - timedelta(days=1).total_seconds()
        for name in [name for name, lease in self._leases.items() if lease.expires_at < old]:
            del self._leases[name]


def _place(site: str) -> float:
    """Return a place between 0 and 1, always the same for a site, and evenly spread over sites."""
    return int.from_bytes(blake2b(site.encode(), digest_size=8).digest(), "big") / 2**64

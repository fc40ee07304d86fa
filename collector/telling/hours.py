"""Spans of the week, and whose turn it is. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SECOND = 1_000_000_000
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
WEEK = 7 * _DAY
ALWAYS = (1 << WEEK) - 1
"""Every minute of the week."""
_CLOCK = r"([01]?\d|2[0-4]):([0-5]\d)"
_SPAN = re.compile(rf"([a-z, -]+?) +{_CLOCK}-{_CLOCK}")
_AT = re.compile(_CLOCK)


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone; `ValueError` where nobody knows it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"time_zone {name!r} is not known here; write Asia/Ho_Chi_Minh") from None


def minutes_of(spans: Iterable[str]) -> int:
    """Return spans of the week as a number with a bit for each of its minutes, Monday's first lowest; none: always.

    `ValueError` names a span that is none.
    """
    mask = 0
    for text in spans:
        mask |= _minutes(text)
    return mask or ALWAYS


def _minutes(text: str) -> int:
    found = _SPAN.fullmatch(text.strip().lower())
    days = _days(found[1]) if found else []
    start, end = (int(found[2]) * 60 + int(found[3]), int(found[4]) * 60 + int(found[5])) if found else (0, 0)
    if not days or start in (end, _DAY) or max(start, end) > _DAY:
        raise ValueError(f"hours {text!r} are no span of the week; write mon-fri 07:30-17:00, or daily 22:00-06:00")
    length = (end - start) % _DAY or _DAY
    mask = 0
    for day in days:
        mask |= ((1 << length) - 1) << (day * _DAY + start)
    return (mask | mask >> WEEK) & ALWAYS  # Sunday's night ends on Monday


def _days(text: str) -> list[int]:
    """Return the numbers of days (`daily`, `sat`, `mon-fri`, `mon,wed`); none where one of them is no day."""
    if text == "daily":
        return list(range(7))
    found: list[int] = []
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            return []
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        found += [day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)]
    return found


def minute_of(now: int, zone: ZoneInfo) -> int:
    """Return which minute of its zone's week an instant (nanoseconds) is in."""
    local = datetime.fromtimestamp(now / _SECOND, zone)
    return local.weekday() * _DAY + local.hour * 60 + local.minute


def spans_of(mask: int) -> str:
    """Write minutes of the week as people do, the first three spans of them: `Mon 17:00 – Tue 07:30`."""
    if mask == ALWAYS:
        return "at all hours"
    edges = [minute for minute in range(WEEK) if (mask >> minute & 1) != (mask >> (minute - 1) % WEEK & 1)]
    if edges and not mask >> edges[0] & 1:
        edges = [*edges[1:], edges[0]]  # what is on as the week begins, began last week
    pairs = [f"{_moment(edges[i])} – {_moment(edges[i + 1])}" for i in range(0, len(edges) - 1, 2)]
    more = f" and {len(pairs) - 3} more spans" if len(pairs) > 3 else ""  # noqa: PLR2004  (a line)
    return ", ".join(pairs[:3]) + more


def _moment(minute: int) -> str:
    day, rest = divmod(minute, _DAY)
    return f"{_DAYS[day].capitalize()} {rest // 60:02}:{rest % 60:02}"


@dataclass(frozen=True, slots=True)
class Turns:
    """A duty rota: people who take turns of the same number of days, handed over at the same time of day."""

    people: Sequence[str]
    since: datetime
    days: int
    zone: ZoneInfo

    def at(self, now: int) -> str:
        """Return whose turn it is. Days are the calendar's, so that no change of the clock moves the hand-over."""
        start = self.since.astimezone(self.zone) if self.since.tzinfo else self.since.replace(tzinfo=self.zone)
        local = datetime.fromtimestamp(now / _SECOND, self.zone)
        days = (local.date() - start.date()).days - (local.time() < start.time())
        return self.people[days // self.days % len(self.people)]


def clock_of(text: str) -> time:
    """Return a time of day; `ValueError` where it is none."""
    found = _AT.fullmatch(text.strip())
    if found is None or int(found[1]) > 23:  # noqa: PLR2004  (an hour)
        raise ValueError(f"{text!r} is no time of day; write 07:30")
    return time(int(found[1]), int(found[2]))


def next_at(times: Sequence[time], zone: ZoneInfo, now: int) -> int:
    """Return the next instant (nanoseconds) after `now` at which the clock shows one of `times`."""
    today = datetime.fromtimestamp(now / _SECOND, zone).date()
    moments = [datetime.combine(today + timedelta(days=d), at, zone) for d in (0, 1, 2) for at in times]
    return min(at for moment in moments if (at := int(moment.timestamp()) * _SECOND) > now)

"""The time a report is about: months and days as people write them, in the office's own time zone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_MONTH = re.compile(r"(\d{4})-(\d{2})")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MINUTE = 60
_MOST_DAYS = 800


class Month(NamedTuple):
    """A calendar month, or the part of it that a report is about, in seconds since the epoch."""

    name: str
    start: int
    end: int


def span(start: str | None, end: str | None, zone: ZoneInfo, now: float) -> list[Month]:
    """Return the months from `start` to the end of `end`, no later than now; by default, this month so far.

    Both are written 2026-11, 2026-11-24, or as RFC 3339 with a zone. `ValueError` says what would be right.
    """
    first = _instant("from", start, zone, after=False) if start else _month_of(datetime.fromtimestamp(now, zone))
    last = _instant("to", end, zone, after=True) if end else datetime.fromtimestamp(now, zone)
    if first >= last:
        raise ValueError(f"from ({start}) must lie before to ({end or 'now'})")
    if last - first > timedelta(days=_MOST_DAYS):
        raise ValueError(f"from ({start}) to ({end or 'now'}) is more than {_MOST_DAYS} days: ask for less")
    final = int(min(last.timestamp(), now)) // _MINUTE * _MINUTE
    months = []
    at = first
    while at < last:
        following = _month_of(_month_of(at) + timedelta(days=32))
        begins, ends = int(at.timestamp()) // _MINUTE * _MINUTE, min(int(following.timestamp()), final)
        if begins < ends:
            months.append(Month(f"{at:%Y-%m}", begins, ends))
        at = following
    if not months:
        raise ValueError(f"from ({start}) lies in the future: nothing has been measured yet")
    return months


def _month_of(at: datetime) -> datetime:
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _instant(name: str, text: str, zone: ZoneInfo, *, after: bool) -> datetime:
    """Return the instant at which a month or a day begins, or with `after` the one at which it is over."""
    try:
        month = _MONTH.fullmatch(text)
        if month:
            begins = datetime(int(month[1]), int(month[2]), 1, tzinfo=zone)
            return _month_of(begins + timedelta(days=32)) if after else begins
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=zone) + timedelta(days=int(after))
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at.astimezone(zone)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"{name}: {text!r} is no time: write a month (2026-11), a day (2026-11-24),"
        " or RFC 3339 with its zone (2026-11-24T08:00:00+07:00)"
    )

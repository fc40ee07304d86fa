"""One planned work: what it touches, and when, once or every week. Pure."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_SECOND = 1_000_000_000
_WEEK = 7 * 86_400 * _SECOND
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKLY = re.compile(rf"({'|'.join(_DAYS)}|daily) +([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_PLACES = "sites, upstreams, services or everything: true"


class Window(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One planned work: what it touches, and when: once (`start`, `end`), or every week (`weekly`)."""

    window: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    sites: list[str] = []
    upstreams: list[str] = []
    services: list[str] = []
    everything: bool = False
    start: datetime | None = None
    end: datetime | None = None
    weekly: list[str] = []
    time_zone: str = "Asia/Ho_Chi_Minh"
    reason: Annotated[str, msgspec.Meta(max_length=2000)] = ""

    def __post_init__(self) -> None:
        """Refuse a window that touches nothing, or that is at no time."""
        if not (self.sites or self.upstreams or self.services or self.everything):
            raise ValueError(f"touches nothing: name {_PLACES}")
        if (self.start is None) != (self.end is None) or (self.start is None) == (not self.weekly):
            raise ValueError("needs either start and end (2026-12-05T22:00:00+07:00), or weekly ([sun 01:00-03:00])")
        if self.start is not None and self.end is not None and self.span_once() is None:
            raise ValueError("ends before it starts")
        self.zone()
        for text in self.weekly:
            if _WEEKLY.fullmatch(text) is None:
                raise ValueError(f"weekly {text!r} is no span of a week; write sun 01:00-03:00 or daily 22:00-23:30")

    def zone(self) -> ZoneInfo:
        """Return its time zone; `ValueError` where nobody knows it."""
        try:
            return ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"time_zone {self.time_zone!r} is not known here; write Asia/Ho_Chi_Minh") from None

    def span_once(self) -> tuple[int, int] | None:
        """Return when a single window is, as nanoseconds; a time without a zone is of the window's own."""
        if self.start is None or self.end is None:
            return None
        start, end = (_nanoseconds(_aware(at, self.zone())) for at in (self.start, self.end))
        return (start, end) if start < end else None

    def spans(self, now: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of time that lie around an instant: those that have begun, and the next ones."""
        once = self.span_once()
        if once is not None:
            yield once
        zone = self.zone()
        today = datetime.fromtimestamp(now / _SECOND, zone).date()
        for text in self.weekly:
            found = _WEEKLY.fullmatch(text)
            assert found is not None  # noqa: S101  (for mypy: `__post_init__` has looked)
            day, *clock = found.groups()
            begins, ends = (time(int(hour), int(minute)) for hour, minute in (clock[:2], clock[2:]))
            for days in range(-1, 8):
                on = today + timedelta(days=days)
                if day in ("daily", _DAYS[on.weekday()]):
                    yield _span(on, begins, ends, zone)

    def spans_between(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return its spans that touch the time between two instants, in order, each once."""
        found = {span for day in range(start, end + _WEEK, _WEEK) for span in self.spans(day)}  # each sees a week ahead
        return sorted((begins, ends) for begins, ends in found if begins < end and ends > start)

    def until(self, now: int) -> int | None:
        """Return until when it lasts; None where it is not on."""
        return max((end for start, end in self.spans(now) if start <= now < end), default=None)


def _span(on: date, begins: time, ends: time, zone: ZoneInfo) -> tuple[int, int]:
    last = on if ends > begins else on + timedelta(days=1)
    return _nanoseconds(datetime.combine(on, begins, zone)), _nanoseconds(datetime.combine(last, ends, zone))


def _aware(at: datetime, zone: ZoneInfo) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def _nanoseconds(at: datetime) -> int:
    return round(at.astimezone(UTC).timestamp()) * _SECOND

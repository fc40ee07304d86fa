"""When planned work is on, what it touches, and by when it must be announced."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.strict import build
from collector.config import Config
from collector.maintenance import Maintenance
from collector.notices import announce_by
from collector.topology import Topology
from collector.window import Window
from tests.collector.judging import Judge, instant

NS = 1_000_000_000


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * NS


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-12-05T22:59+07:00", None),
        ("2026-12-05T23:00+07:00", "2026-12-06T01:30+07:00"),
        ("2026-12-06T01:29+07:00", "2026-12-06T01:30+07:00"),
        ("2026-12-06T01:30+07:00", None),
        ("2026-12-06T23:30+07:00", None),
        ("2026-12-12T16:30+00:00", "2026-12-13T01:30+07:00"),
    ],
)
def test_a_weekly_window_comes_back_and_may_pass_midnight(now: str, until: str | None) -> None:
    window = Window(window="w", everything=True, weekly=["sat 23:00-01:30"])
    assert window.until(at(now)) == (at(until) if until else None)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2036, 1, 1)))  # noqa: DTZ001  (hypothesis wants them without a zone)
def test_a_daily_window_is_on_so_many_hours_of_every_day(moment: datetime) -> None:
    window = Window(window="w", everything=True, weekly=["daily 22:00-04:00"], time_zone="Asia/Ho_Chi_Minh")
    now = round(moment.replace(tzinfo=UTC).timestamp()) * NS
    hour = (moment.hour + 7) % 24
    assert (window.until(now) is not None) == (hour >= 22 or hour < 4)
    ((start, end),) = {min(span for span in window.spans(now) if span[1] > now)}
    assert end - start == 6 * 3600 * NS


@pytest.mark.parametrize(
    ("start", "holidays", "by"),
    [
        (date(2026, 12, 5), [], date(2026, 11, 26)),  # a Saturday
        (date(2026, 12, 7), [], date(2026, 11, 26)),
        (date(2026, 12, 8), [], date(2026, 11, 27)),
        (date(2026, 9, 4), [date(2026, 9, 1), date(2026, 9, 2)], date(2026, 8, 24)),
    ],
)
def test_seven_working_days_leave_out_week_ends_and_holidays(start: date, holidays: list[date], by: date) -> None:
    assert announce_by(start, holidays) == by


SITES = [{"site": str(n), "name": f"Commune {n}", "upstream": "pop-1" if n < 4 else "pop-2"} for n in range(1, 6)]


def judged(window: dict[str, object], cut: range, again: range = range(0)) -> list[tuple[str | None, str, str]]:
    """Let sites beat for 100 s; those in `cut` are silent then, those in `again` are heard again at 200 s."""
    judge = Judge(build(Config, {"sites": SITES, "maintenance": [window]}))
    for second in range(0, 400, 2):
        for site in range(1, 6):
            if site not in cut or second < 100 or (second >= 200 and site in again):
                judge.arrive(f"agent,site={site},node=gw uptime_seconds=1 {instant(second)}".encode(), instant(second))
    return [(item.tell, item.kind, item.site) for item in judge.told if item.tell in ("opened", "resolved")]


def planned(start: int, end: int, **places: object) -> dict[str, object]:
    first, last = (datetime.fromtimestamp(instant(second) / NS, UTC).isoformat() for second in (start, end))
    return {"window": "w", "start": first, "end": last, **places}


def test_what_is_well_again_before_the_end_is_never_told() -> None:
    assert judged(planned(50, 300, sites=["1"]), range(1, 2), range(1, 2)) == []


def test_the_end_of_a_window_finds_what_is_still_broken() -> None:
    assert judged(planned(50, 300, sites=["1"]), range(1, 2)) == [("opened", "silence", "1")]


def test_an_upstream_under_work_covers_all_that_is_behind_it_and_nothing_else() -> None:
    assert judged(planned(50, 390, upstreams=["pop-1"]), range(1, 4), range(1, 4)) == []
    assert judged(planned(50, 390, upstreams=["pop-1"]), range(5, 6)) == [("opened", "silence", "5")]


def test_what_was_open_when_work_begins_is_still_told_when_it_is_over() -> None:
    told = judged(planned(150, 390, sites=["1"]), range(1, 2), range(1, 2))
    assert told == [("opened", "silence", "1"), ("resolved", "silence", "1")]


def test_windows_are_kept_through_a_restart() -> None:
    first = Maintenance([], Topology())
    first.add(Window(window="w", everything=True, weekly=["daily 22:00-04:00"]))
    second = Maintenance([], Topology())
    second.load(first.save())
    assert second.windows == first.windows

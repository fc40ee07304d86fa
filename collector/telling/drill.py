"""The drill: a test that is announced, in which an alarm goes out and the dead-man signal is withheld. Pure.

It passes when somebody says that they heard the alarm, and somebody that they heard the silence: that the one outside
rang because our signal stayed away.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from collector.telling.hours import clock_of
from collector.telling.message import Message
from collector.words import lasted, local

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from collector.telling.settings import Drill as Settings

_SECOND: Final = 1_000_000_000
_WEEK: Final = 7
_WHICH: Final = {"first": 0, "second": 1, "third": 2}
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_OLD_DAYS: Final = 40
ANNOUNCED, ALARM, OVER = "drill announced", "drill", "drill over"


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """One drill. Instants are nanoseconds. `signal`: there is a dead-man signal to withhold."""

    id: int
    by: str
    announced_at: int
    alarm_at: int
    until_at: int
    signal: bool
    rung: bool = False
    alarm_heard_at: int | None = None
    alarm_heard_by: str | None = None
    silence_heard_at: int | None = None
    silence_heard_by: str | None = None
    ended_at: int | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Drill:
        """Return the drill that a database row holds."""
        return cls(**{name: row[name] for name in cls.__struct_fields__})

    @property
    def done(self) -> bool:
        """Tell whether all that is to be heard was heard."""
        return self.alarm_heard_at is not None and (self.silence_heard_at is not None or not self.signal)

    def withholds(self, now: int) -> bool:
        """Tell whether the dead-man signal stays away for it at `now`."""
        return self.ended_at is None and self.alarm_at <= now < self.until_at and self.silence_heard_at is None

    def due_at(self) -> int | None:
        """Return when it goes on; None once it is over."""
        if self.ended_at is not None:
            return None
        return self.until_at if self.rung else self.alarm_at

    def ends(self, now: int) -> bool:
        """Tell whether it is over at `now`."""
        return self.ended_at is None and self.rung and (self.done or now >= self.until_at)


def next_alarm(settings: Settings, zone: ZoneInfo, now: int) -> int | None:
    """Return when the next drill that the configuration asks for has its alarm; None where it asks for none."""
    asked = settings.day()
    if asked is None:
        return None
    which, day, clock = asked
    today = datetime.fromtimestamp(now / _SECOND, zone).date()
    months = [(today.year + (today.month - 1 + ahead) // 12, (today.month - 1 + ahead) % 12 + 1) for ahead in range(3)]
    days = [_weekday(year, month, which, _DAYS.index(day)) for year, month in months]
    at = [int(datetime.combine(on, clock_of(clock), zone).timestamp()) * _SECOND for on in days]
    return min(each for each in at if each > now)


def _weekday(year: int, month: int, which: str, weekday: int) -> date:
    first = date(year, month, 1)
    days = (weekday - first.weekday()) % _WEEK
    if which != "last":
        return first + timedelta(days=days + _WEEK * _WHICH[which])
    end = date(year + month // 12, month % 12 + 1, 1)
    return end - timedelta(days=(end.weekday() - weekday - 1) % _WEEK + 1)


def lacking(drills: list[Drill], settings: Settings, now: int) -> str | None:
    """Return what is to be said of drills that fail or stay away, newest first; None while all is well."""
    over = [drill for drill in drills if drill.ended_at is not None]
    if not over:
        return None
    if not over[0].done:
        return f"the drill of {local(over[0].alarm_at)} failed: {_missing(over[0], 'en')}"
    if settings.monthly and now - over[0].alarm_at > _OLD_DAYS * 86_400 * _SECOND:
        return f"the last drill was on {local(over[0].alarm_at)}"
    return None


class _Said(NamedTuple):
    announced: str
    announced_body: str
    signal: str
    alarm: str
    alarm_body: str
    over: str
    failed: str
    heard: str
    silence: str
    missing_alarm: str
    missing_silence: str


_SAID: Final = {
    "vi": _Said(
        announced="🔔 DIỄN TẬP lúc {at}",
        announced_body="Lúc {at} sẽ có một tin báo động thử.{signal}\nKhông có sự cố thật. Ai nhận được thì xác nhận: "
        "nhip collector drill heard alarm",
        signal=" Tín hiệu sống gửi ra ngoài sẽ ngừng đến {until}: bên ngoài phải gọi. Ai nghe gọi thì xác nhận: "
        "nhip collector drill heard silence.",
        alarm="🔔 DIỄN TẬP: BÁO ĐỘNG THỬ",
        alarm_body="Đây là diễn tập, không có sự cố.\nXác nhận đã nhận: nhip collector drill heard alarm",
        over="🟢 DIỄN TẬP ĐẠT",
        failed="🔴 DIỄN TẬP KHÔNG ĐẠT",
        heard="Tin báo động: {who} xác nhận sau {after}.",
        silence="Tín hiệu sống ngừng: {who} xác nhận bên ngoài đã gọi sau {after}.",
        missing_alarm="Không ai xác nhận tin báo động.",
        missing_silence="Không ai xác nhận bên ngoài đã gọi khi tín hiệu sống ngừng.",
    ),
    "en": _Said(
        announced="🔔 DRILL at {at}",
        announced_body="At {at} a test alarm goes out.{signal}\nNothing is wrong. Whoever gets it says so: "
        "nhip collector drill heard alarm",
        signal=" The signal to the outside stays away until {until}: the outside must ring. Whoever hears it says so: "
        "nhip collector drill heard silence.",
        alarm="🔔 DRILL: TEST ALARM",
        alarm_body="This is a drill, nothing is wrong.\nSay that you got it: nhip collector drill heard alarm",
        over="🟢 DRILL PASSED",
        failed="🔴 DRILL FAILED",
        heard="The alarm: {who} got it after {after}.",
        silence="The silence: {who} heard the outside ring after {after}.",
        missing_alarm="Nobody says that they got the alarm.",
        missing_silence="Nobody says that the outside rang when the signal stayed away.",
    ),
}


def drill_message(what: str, drill: Drill, language: str) -> Message:
    """Return what is said of a drill: that it comes, that it is on, how it went."""
    said, at = _SAID[language], local(drill.alarm_at)
    if what == ANNOUNCED:
        signal = said.signal.format(until=local(drill.until_at)) if drill.signal else ""
        body = said.announced_body.format(at=at, signal=signal)
        return Message(said.announced.format(at=at), body, what, quiet=True)
    if what == ALARM:
        return Message(said.alarm, said.alarm_body, what)
    title = said.over if drill.done else said.failed
    return Message(title, _missing(drill, language, heard=True), what, quiet=drill.done)


def _missing(drill: Drill, language: str, *, heard: bool = False) -> str:
    said = _SAID[language]
    parts = [(drill.alarm_heard_at, drill.alarm_heard_by, said.heard, said.missing_alarm)]
    if drill.signal:
        parts.append((drill.silence_heard_at, drill.silence_heard_by, said.silence, said.missing_silence))
    told = [
        yes.format(who=who, after=lasted(at - drill.alarm_at, language)) if at is not None else no
        for at, who, yes, no in parts
        if heard or at is None
    ]
    return "\n".join(told)

"""What `collector.yml` says about telling people."""

from __future__ import annotations

import re
from datetime import datetime  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path  # noqa: TC003  (likewise)
from typing import Annotated, Literal

import msgspec

from collector.telling.hours import clock_of, minutes_of, zone_of

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
Minutes = Annotated[float, msgspec.Meta(gt=0, le=10_080)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Names = Annotated[list[str], msgspec.Meta(min_length=1)]
Severity = Literal["yellow", "red"]
_DAY = re.compile(r"(first|second|third|last) (mon|tue|wed|thu|fri|sat|sun) ((?:[01]?\d|2[0-3]):[0-5]\d)")


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often one may ring: so many at once, and one more every so many seconds. What is above comes as a summary."""

    messages: Count = 6
    seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 120


class Channel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to tell people or programs: its address is read from a file because it holds a secret."""

    channel: Name
    url_file: Path
    kind: Literal["apprise", "alertmanager", "alertmanager_webhook"] = "apprise"
    language: Literal["vi", "en"] = "vi"
    timeout_seconds: Seconds = 20
    updates: bool | None = None  # what does not ring as well; without a word: where the channel can carry it quietly
    limit: Limit | None = None


class Person(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who can be called, over each of their channels."""

    person: Name
    channels: Names
    name: str = ""
    limit: Limit | None = None


class Rota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """People who are on duty in turn."""

    rota: Name
    people: Names
    since: datetime  # when the first one's turn begins, and at what time of day each is handed over
    days: Count = 7


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which incidents are told to whom. What is not said holds for all."""

    route: Name
    tell: Names  # people, rotas, channels
    severity: Annotated[list[Severity], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["yellow", "red"]
    )
    areas: list[str] = []  # upstreams with all behind them, groups, sites: all that is ill lies in one of them
    services: list[str] = []
    hours: list[str] = []
    escalation: str = ""
    go_on: bool = False  # the routes below are asked as well

    def __post_init__(self) -> None:
        """Refuse hours that mean nothing."""
        minutes_of(self.hours)


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is called when nobody has acknowledged for so long."""

    after_minutes: Minutes
    tell: Names


class Escalation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Steps until somebody acknowledges; the last one may come again and again."""

    escalation: Name
    steps: Annotated[list[Step], msgspec.Meta(min_length=1)]
    repeat_minutes: Annotated[float, msgspec.Meta(ge=1, le=10_080)] | None = None

    def __post_init__(self) -> None:
        """Refuse steps in no order."""
        after = [step.after_minutes for step in self.steps]
        if after != sorted(set(after)):
            raise ValueError("steps must come one after the other: after_minutes must grow from step to step")


class Telling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for every message."""

    time_zone: str = "Asia/Ho_Chi_Minh"
    digest_at: list[str] = msgspec.field(default_factory=lambda: ["07:30"])  # yellow, in one quiet message; none: never
    limit: Limit = Limit()
    templates: Path | None = None  # a folder: vi.txt, en.txt in place of the shipped ones
    board_url: str = ""  # where people open the board: a link to each incident

    def __post_init__(self) -> None:
        """Refuse a zone, times and an address that mean nothing."""
        zone_of(self.time_zone)
        for text in self.digest_at:
            clock_of(text)
        if self.board_url and not self.board_url.startswith(("http://", "https://")):
            raise ValueError(f"board_url must begin with http:// or https://, not {self.board_url!r}")


class DeadMan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signal to somebody outside who rings when it stays away: its address is read from a file, it is a secret."""

    url_file: Path
    every_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 60
    method: Literal["GET", "POST"] = "GET"
    timeout_seconds: Seconds = 10


class Drill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it is tried that silence rings, and how long the dead-man signal is withheld for it."""

    monthly: str = ""  # first tue 09:30; nothing: only by hand
    announce_minutes: Annotated[float, msgspec.Meta(ge=0, le=1440)] = 10
    withhold_minutes: Minutes = 15

    def __post_init__(self) -> None:
        """Refuse a day that means nothing."""
        if self.monthly and _DAY.fullmatch(self.monthly) is None:
            raise ValueError(f"monthly {self.monthly!r} is no day of a month; write first tue 09:30, or last fri 14:00")

    def day(self) -> tuple[str, str, str] | None:
        """Return which of the month's weekdays it is, and at what time."""
        found = _DAY.fullmatch(self.monthly)
        return None if found is None else (found[1], found[2], found[3])

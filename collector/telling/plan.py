"""From what the judge tells to what goes over which channel, and when. Pure: the same facts plan the same messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from collector.telling.hours import clock_of, next_at
from collector.telling.routes import LOG, Book, Subject

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import time

    from collector.config import Config
    from collector.incident import Incident
    from collector.telling.settings import Escalation, Step
    from collector.telling.words import Said

ALARMS: Final = frozenset({"opened", "escalated", "reopened"})
"""What somebody must take on."""
_MINUTE: Final = 60 * 1_000_000_000


class News(NamedTuple):
    """What the judge wants told of an incident, as it stands now."""

    incident: Incident
    what: Said
    at: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing to tell over one channel. `at` names the occasion: the same one is never planned twice."""

    channel: str
    what: Said
    at: int
    due_at: int
    loud: bool
    who: str = ""
    minutes: int = 0
    """For how long nobody has taken the incident on."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a channel is good for: updates that do not ring; or a program behind it, that is told everything at once."""

    updates: bool = False
    program: bool = False


class Planner:
    """Plans by a configuration."""

    def __init__(self, config: Config, traits: Mapping[str, Traits]) -> None:
        """Plan for channels with these traits."""
        self.book = Book(config)
        self._traits = traits
        self._digests: list[time] = [clock_of(text) for text in config.telling.digest_at]

    def plan(self, news: News, told: Mapping[str, str], now: int) -> list[Delivery]:
        """Return what goes out for news. `told` are channels that have heard of the incident, and whom they reach.

        Who heard of a beginning hears of the end, whatever the hour. An incident that has outgrown its route is told,
        as a new one, to those whom it is for now.
        """
        incident, what = news.incident, news.what
        called = self.book.called(Subject.of(incident), now).channels
        if what == "digest":
            return self._quietly(news, called, now)
        if what in ALARMS or what == "due":
            return [_loud(news, channel, who, now) for channel, who in {**told, **called}.items()]
        if what == "resolved":
            return [_loud(news, channel, who, now) for channel, who in told.items()]
        planned = [
            Delivery(channel, what, news.at, now, loud=False, who=who)
            for channel, who in told.items()
            if (traits := self._traits.get(channel, Traits())).updates or traits.program
        ]
        if incident.open and incident.severity == "red" and told:
            late = News(incident, "opened", news.at)
            planned += [_loud(late, channel, who, now) for channel, who in called.items() if channel not in told]
        return planned

    def _quietly(self, news: News, called: Mapping[str, str], now: int) -> list[Delivery]:
        planned = []
        for channel, who in called.items():
            program = self._traits.get(channel, Traits()).program
            if program or self._digests:
                due_at = now if program else next_at(self._digests, self.book.zone, now)
                planned.append(Delivery(channel, "digest", news.at, due_at, loud=False, who=who))
        return planned

    def unanswered(
        self, incident: Incident, alarm_at: int, last_at: int, now: int
    ) -> tuple[list[Delivery], int | None]:
        """Return the calls of an escalation that are due, and when the next are.

        `alarm_at` is when somebody should have taken the incident on; `last_at` the last step that was called since.
        """
        due: list[tuple[int, Step]] = []
        ahead: list[int] = []
        for escalation in self.book.called(Subject.of(incident), now).escalations:
            for at, step in _steps(escalation, alarm_at, now):
                if at > now:
                    ahead.append(at)
                elif at > last_at:
                    due.append((at, step))
        if not due:
            return [], min(ahead, default=None)
        latest = max(at for at, _ in due)
        names = [name for _, step in sorted(due, key=_when) for name in step.tell]
        minutes = (now - alarm_at) // _MINUTE
        calls = {**self.book.resolve(names, now), LOG: ""}
        return [
            Delivery(channel, "unanswered", latest, now, loud=True, who=who, minutes=minutes)
            for channel, who in calls.items()
        ], min(ahead, default=None)


def _loud(news: News, channel: str, who: str, now: int) -> Delivery:
    return Delivery(channel, news.what, news.at, now, loud=True, who=who)


def _steps(escalation: Escalation, alarm_at: int, now: int) -> list[tuple[int, Step]]:
    """Return the steps with their instants; of those repeated, the last that is past and the next one."""
    steps: Sequence[Step] = escalation.steps
    found = [(alarm_at + int(step.after_minutes * _MINUTE), step) for step in steps]
    last_at, last = found[-1]
    if escalation.repeat_minutes is not None and last_at <= now:
        every = int(escalation.repeat_minutes * _MINUTE)
        count = (now - last_at) // every
        found += [(last_at + number * every, last) for number in {count, count + 1} if number > 0]
    return found


def _when(item: tuple[int, Step]) -> int:
    return item[0]

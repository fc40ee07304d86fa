"""Telling people, put together: the desk that plans, and a sender for each channel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from collector.diagnosis import Diagnoses
from collector.telling.desk import LOOK_SECONDS, Desk, Loop
from collector.telling.drill_office import DrillOffice
from collector.telling.facts import Known
from collector.telling.message import Writer
from collector.telling.outbox import Outbox
from collector.telling.plan import Planner
from collector.telling.routes import LOG
from collector.telling.sender import Sender
from collector.telling.templates import Templates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from collector.config import Config
    from collector.telling.channel import Channel
    from collector.telling.settings import Limit

_UNHEARD_SECONDS: Final = 300
_STILL_SECONDS: Final = 4 * LOOK_SECONDS


class Notifier:
    """Runs a thread for the desk and one for each channel, however many messages there are."""

    def __init__(
        self, database: sa.Engine, channels: Sequence[Channel], config: Config, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Tell through `channels` what `database` holds, as `config` says."""
        self._clock = clock
        self.outbox = Outbox(database)
        self.planner = Planner(config, {channel.name: channel.traits for channel in channels})
        writer = Writer(Templates(config.telling.templates), Known(config), Diagnoses(database).words)
        self.senders = [Sender(self.outbox, channel, writer, limit_of(config, channel), clock) for channel in channels]
        self.drills = DrillOffice(database, config, self.planner.book, clock)
        self.desk = Desk(self.outbox, self.planner, self.drills, self._planned, clock)
        self.drills.started = self.wake
        self._names = [channel.name for channel in channels]
        self._outside = [name for name in self._names if name != LOG]
        self._hang_seconds = max((channel.timeout_seconds for channel in config.channels), default=0)

    def start(self) -> None:
        """Begin."""
        for loop in self._loops():
            loop.thread.start()

    def stop(self, wait_seconds: float = 2) -> None:
        """End; a channel that hangs is left behind, and its message stays in the outbox."""
        for loop in self._loops():
            loop.stop()
        deadline = time.monotonic() + wait_seconds
        for loop in self._loops():
            if loop.thread.is_alive():
                loop.thread.join(max(0, deadline - time.monotonic()))

    def wake(self) -> None:
        """Plan now: the judge has found something."""
        self.desk.loop.wake()

    def waiting(self) -> int:
        """Return how many messages have not been sent, of those for a channel that there still is."""
        return self.outbox.count(self._names)

    def problem(self) -> str | None:
        """Return why nobody might be told right now, if so: a loop stands still, nobody has heard of an incident."""
        now = time.monotonic()
        if now - self.desk.loop.moved_at > _STILL_SECONDS:
            return "nobody plans who is told"
        still = [s for s in self.senders if now - s.loop.moved_at > _STILL_SECONDS + 2 * self._hang_seconds]
        if len(still) == len(self.senders):
            return "no channel moves"
        if self._outside:
            unheard = self.outbox.unheard(self._outside, self._clock() - _UNHEARD_SECONDS * 1_000_000_000)
            if unheard:
                return f"no channel has taken incident {unheard} for {_UNHEARD_SECONDS // 60} minutes"
        return None

    def _planned(self) -> None:
        for sender in self.senders:
            sender.loop.wake()

    def _loops(self) -> list[Loop]:
        return [self.desk.loop, *(sender.loop for sender in self.senders)]


def limit_of(config: Config, channel: Channel) -> Limit | None:
    """Return how often a channel may ring: its own limit, that of the person behind it, or the common one."""
    settings = next((each for each in config.channels if each.channel == channel.name), None)
    if settings is None or channel.traits.program:
        return None
    person = next((each for each in config.people if channel.name in each.channels and each.limit is not None), None)
    return settings.limit or (person.limit if person is not None else None) or config.telling.limit

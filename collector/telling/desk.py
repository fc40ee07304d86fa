"""The desk: one thread that plans who hears of what the judge has found, and calls the next one when nobody answers."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from collector.journal import sqlite_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.telling.drill_office import DrillOffice
    from collector.telling.outbox import Outbox
    from collector.telling.plan import Planner

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 15.0
"""A loop with nothing to do looks this often, so that whoever watches it sees it live."""
_AGAIN_SECONDS: Final = 0.5
_SECOND: Final = 1_000_000_000


class Loop:
    """A thread that takes turns: when it is woken, when its time has come, and now and then."""

    def __init__(self, name: str, turn: Callable[[], int | None], clock: Callable[[], int]) -> None:
        """Take `turn`s; each returns when the next is due (nanoseconds of `clock`), if one is."""
        self._turn, self._clock = turn, clock
        self._wake = threading.Event()
        self.stopping = False
        self.moved_at = time.monotonic()
        """When it last ended a turn well, on the monotonic clock in seconds."""
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def wake(self) -> None:
        """Take a turn now."""
        self._wake.set()

    def stop(self) -> None:
        """End after the turn under way."""
        self.stopping = True
        self._wake.set()

    def _run(self) -> None:
        pause = 0.0
        while True:
            self._wake.wait(pause)
            self._wake.clear()
            if self.stopping:
                return
            pause = self._take()

    def _take(self) -> float:
        """Take a turn, come what may; return for how many seconds to wait."""
        try:
            due_at = self._turn()
        except sa.exc.SQLAlchemyError as exc:
            log.error("the outbox cannot be read or written: %s", sqlite_words(getattr(exc, "orig", None) or exc))
            return _AGAIN_SECONDS
        except Exception:
            log.exception("%s failed, and goes on", self.thread.name)
            return _AGAIN_SECONDS
        self.moved_at = time.monotonic()
        if due_at is None:
            return LOOK_SECONDS
        return min(max((due_at - self._clock()) / _SECOND, 0.0), LOOK_SECONDS)


class Desk:
    """Plans."""

    def __init__(
        self,
        outbox: Outbox,
        planner: Planner,
        drills: DrillOffice,
        planned: Callable[[], None],
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Plan by `planner`, carry on with `drills`; `planned` is called once something is to go out."""
        self._outbox, self._planner, self._drills = outbox, planner, drills
        self._planned, self._clock = planned, clock
        self.loop = Loop("tell-desk", self.turn, clock)

    def turn(self) -> int | None:
        """Plan all news, and every call that is due; return when the next one is."""
        now = self._clock()
        planned = False
        for number, news in self._outbox.unplanned():
            told = self._outbox.told(news.incident.id)
            deliveries = self._planner.plan(news, told, now)
            self._outbox.plan(number, news.incident.id, deliveries, now)
            planned = planned or bool(deliveries)
        if planned:
            self._planned()
        ahead = [self._call(now), self._drill(now)]
        return min((at for at in ahead if at is not None), default=None)

    def _drill(self, now: int) -> int | None:
        at = self._drills.turn(now)
        if self._drills.wrote:
            self._drills.wrote = False
            self._planned()
        return at

    def _call(self, now: int) -> int | None:
        """Call whoever is next where nobody has taken an incident on."""
        ahead: list[int] = []
        for incident, alarm_at, called_at in self._outbox.unanswered():
            deliveries, next_at = self._planner.unanswered(incident, alarm_at, called_at, now)
            if deliveries:
                self._outbox.plan(None, incident.id, deliveries, now)
                self._planned()
            if next_at is not None:
                ahead.append(next_at)
        return min(ahead, default=None)

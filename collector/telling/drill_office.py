"""Drills, kept and carried out: announced, rung, withheld, heard, over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import sqlalchemy as sa

from collector.database import drills, outbox
from collector.telling.drill import ALARM, ANNOUNCED, OVER, Drill, lacking, next_alarm
from collector.telling.routes import LOG, Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from collector.config import Config
    from collector.telling.routes import Book

_MINUTE: Final = 60_000_000_000
_KEPT: Final = 24
Heard = Literal["alarm", "silence"]


class DrillError(Exception):
    """What was asked cannot be done now. Says why."""


class DrillOffice:
    """Starts drills, takes in who heard them, and carries them on as time passes."""

    def __init__(
        self, database: sa.Engine, config: Config, book: Book, clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Keep drills in `database`."""
        self._database, self._book, self._clock = database, book, clock
        self._settings, self._signal = config.drill, config.dead_man is not None
        self._everybody = [LOG, *(channel.channel for channel in config.channels if channel.kind == "apprise")]
        self._running = self._open()
        self.started: Callable[[], None] = lambda: None
        """Called when a drill was started or heard: somebody has to go on with it."""
        self.wrote = False
        """Whether something new is to go out."""

    def start(self, by: str, announce_minutes: float | None = None) -> Drill:
        """Announce a drill; `DrillError` while there is one."""
        now = self._clock()
        if self._running is not None:
            raise DrillError("a drill is under way: `nhip collector drill list` shows it")
        minutes = self._settings.announce_minutes if announce_minutes is None else announce_minutes
        drill = self._announce(by, now, now + int(minutes * _MINUTE))
        self.started()
        return drill

    def heard(self, what: Heard, by: str) -> Drill:
        """Take in that somebody heard the alarm, or the silence; the first one counts."""
        drill, now = self._running, self._clock()
        if drill is None or now < drill.alarm_at:
            raise DrillError("no drill has rung that is not over")
        if what == "silence" and not drill.signal:
            raise DrillError("there is no dead_man in the configuration: no signal stayed away")
        if getattr(drill, f"{what}_heard_at") is None:
            self._change(drill, **{f"{what}_heard_at": now, f"{what}_heard_by": by})
        self.started()
        assert self._running is not None  # noqa: S101  (for mypy: only `turn` ends one, in its own time)
        return self._running

    def all(self) -> list[Drill]:
        """Return the last drills, newest first."""
        with self._database.connect() as db:
            rows = db.execute(sa.select(drills).order_by(drills.c.id.desc()).limit(_KEPT)).mappings().all()
        return [Drill.of(dict(row)) for row in rows]

    def problem(self) -> str | None:
        """Return what is to be said of drills that fail or stay away."""
        return lacking(self.all(), self._settings, self._clock())

    def withholds(self) -> bool:
        """Tell whether the dead-man signal has to stay away now."""
        drill = self._running
        return drill is not None and drill.withholds(self._clock())

    def turn(self, now: int) -> int | None:
        """Carry on with the drill, or start the one that the configuration asks for; return when there is more."""
        scheduled = next_alarm(self._settings, self._book.zone, now)
        announce = int(self._settings.announce_minutes * _MINUTE)
        if self._running is None and scheduled is not None and scheduled - announce <= now:
            self._announce("schedule", now, scheduled)
        drill = self._running
        if drill is None:
            return None if scheduled is None else scheduled - announce
        if not drill.rung and now >= drill.alarm_at:
            called = self._book.called(Subject("red", "collector", "", frozenset()), now)
            self._write(ALARM, drill, [name for name in called.channels if name in self._everybody], now, loud=True)
            drill = self._change(drill, rung=True)
        if drill.ends(now):
            drill = self._change(drill, ended_at=now)
            self._write(OVER, drill, self._everybody, now, loud=not drill.done)
            self._running = None
        return drill.due_at()

    def _announce(self, by: str, now: int, alarm_at: int) -> Drill:
        until_at = alarm_at + int(self._settings.withhold_minutes * _MINUTE)
        row = {
            "by": by, "announced_at": now, "alarm_at": alarm_at, "until_at": until_at,
            "signal": self._signal, "rung": False,
        }  # fmt: skip
        with self._database.begin() as db:
            number = db.execute(sa.insert(drills).values(row)).inserted_primary_key
        drill = Drill(id=int(number[0]) if number else 0, **row)  # type: ignore[arg-type]  # a row's values are as typed
        self._running = drill
        self._write(ANNOUNCED, drill, self._everybody, now, loud=False)
        return drill

    def _change(self, drill: Drill, **values: Any) -> Drill:
        with self._database.begin() as db:
            db.execute(sa.update(drills).where(drills.c.id == drill.id).values(values))
        changed = msgspec.structs.replace(drill, **values)
        self._running = changed
        return changed

    def _write(self, what: str, drill: Drill, channels: Iterable[str], now: int, *, loud: bool) -> None:
        rows = [
            {"what": what, "channel": name, "at": drill.alarm_at, "loud": loud, "due_at": now, "attempts": 0}
            for name in channels
        ]
        with self._database.begin() as db:
            db.execute(sa.insert(outbox), rows)
        self.wrote = True

    def _open(self) -> Drill | None:
        return next((drill for drill in self.all() if drill.ended_at is None), None)

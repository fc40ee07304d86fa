"""Sending: one loop a channel over the outbox, so that a channel that hangs delays neither judging nor another.

A message leaves the outbox when it was sent. A crash between the two tells once more, never not at all.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, cast

from collector.telling.channel import ChannelError
from collector.telling.desk import Loop
from collector.telling.drill import drill_message
from collector.telling.parcels import Bucket, gather, parcels

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.telling.channel import Channel, Remembering
    from collector.telling.message import Message, Writer
    from collector.telling.outbox import Outbox
    from collector.telling.parcels import Parcel, Waiting
    from collector.telling.settings import Limit

log = logging.getLogger(__name__)

_SECOND: Final = 1_000_000_000
_FIRST_PAUSE_SECONDS: Final = 5
_LONGEST_PAUSE_SECONDS: Final = 60
_AGAIN: Final = _SECOND // 2
_DOWN: Final = 2
"""So many messages refused one after the other, and it is the channel, not the message."""
_SINGLY: Final = 4
"""Every so many times messages are tried singly all the same: one that nobody takes must not keep the others."""


class Sender:
    """Sends what waits for one channel."""

    def __init__(
        self,
        outbox: Outbox,
        channel: Channel,
        writer: Writer,
        limit: Limit | None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Send over `channel`, and ring within `limit`, if there is one."""
        self._outbox, self.channel, self._writer, self._clock = outbox, channel, writer, clock
        self._limit = limit
        self._bucket: Bucket | None = None
        self._unmarked: set[int] = set()  # sent, and the outbox could not be told: not to be sent again
        self._refused = 0
        self._reminded_at = 0
        self.loop = Loop(f"tell-{channel.name}", self.turn, clock)

    def turn(self) -> int | None:
        """Send what may go; return when more may."""
        self._mark()
        rows = self._outbox.waiting(self.channel.name)
        if any(row.what == "unanswered" for row in rows) and self._outbox.forget_answered(self.channel.name):
            rows = self._outbox.waiting(self.channel.name)
        now = self._clock()
        bucket = self._filled(now)
        items, digest = gather(rows, now)
        free = bucket.free(now) if bucket else len(items)
        if self._refused >= _DOWN and self._refused % _SINGLY:
            free = min(free, 1)  # it is the channel: one attempt for all that waits, not one each
        failed = 0
        for parcel in parcels(items, digest, free):
            if self.loop.stopping or failed >= _DOWN:
                break
            failed = 0 if self._try(parcel, bucket) else failed + 1
        self._drills(now)
        return self._next(rows, bucket, now, tried=bool(items or digest))

    def _filled(self, now: int) -> Bucket | None:
        """Return the bucket, from what the outbox knows of before we started."""
        if self._limit is not None and self._bucket is None:
            since = now - Bucket(self._limit).memory
            self._bucket = Bucket(self._limit, self._outbox.rang_at(self.channel.name, since))
        return self._bucket

    def _next(self, rows: list[Waiting], bucket: Bucket | None, now: int, *, tried: bool) -> int | None:
        due = [row.due_at for row in rows if row.due_at > now]
        if tried:
            due.append(bucket.free_at(self._clock()) if bucket else now)
            due[-1] = max(due[-1], now + _AGAIN)
        remind_at = self._remind(now)
        return min([*due, *([remind_at] if remind_at is not None else [])], default=None)

    def _try(self, parcel: Parcel, bucket: Bucket | None) -> bool:
        """Send one message; return whether it was taken."""
        rows = [row.id for row in parcel.rows]
        attempts = max(row.attempts for row in parcel.rows)
        write = self._writer.write
        taken = self._send(rows, attempts, lambda: write(parcel, self.channel.language, self._clock()))
        if taken and bucket is not None and parcel.loud:
            bucket.ring(self._clock())
        return taken

    def _send(self, rows: list[int], attempts: int, write: Callable[[], Message]) -> bool:
        try:
            self.channel.send(write())
        except Exception as exc:  # noqa: BLE001  (a channel's library may fail in any way; the loop goes on)
            words = str(exc) if isinstance(exc, ChannelError) else type(exc).__name__
            log.warning("channel %s: %s; it is tried again", self.channel.name, words)
            pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(attempts, 10), _LONGEST_PAUSE_SECONDS)
            self._outbox.later(rows, self._clock() + pause * _SECOND, words)
            self._refused += 1
            return False
        self._unmarked.update(rows)
        self._mark()
        if self._refused >= _DOWN:
            self._outbox.hurry(self.channel.name, self._clock())
        self._refused = 0
        return True

    def _drills(self, now: int) -> None:
        """Say what is to be said of drills."""
        for row, what, attempts, drill in self._outbox.drill_rows(self.channel.name, now):
            message = drill_message(what, drill, self.channel.language)
            self._send([row], attempts, lambda message=message: message)  # type: ignore[misc]  # bound here, called at once

    def _mark(self) -> None:
        """Write down what has gone."""
        if self._unmarked:
            self._outbox.sent(sorted(self._unmarked), self._clock())
            self._unmarked.clear()

    def _remind(self, now: int) -> int | None:
        """Remind a program that forgets; return when to do it next."""
        every = getattr(self.channel, "every_seconds", None)
        if every is None:
            return None
        if now >= self._reminded_at + int(every * _SECOND):
            self._reminded_at = now
            if tellings := self._outbox.open_over(self.channel.name):
                try:
                    cast("Remembering", self.channel).remind(tellings)
                except ChannelError as exc:
                    log.warning("channel %s: %s; it is reminded again", self.channel.name, exc)
        return self._reminded_at + int(every * _SECOND)

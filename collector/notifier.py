"""Telling people: one loop a channel over the outbox, so that a channel that hangs delays neither judging nor another.

A message leaves the outbox when it was sent. A crash between the two tells once more, never not at all.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import apprise
import sqlalchemy as sa

from collector.database import incidents, outbox, sites
from collector.record import incident_of
from collector.words import message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from collector.config import Channel as Settings

log = logging.getLogger(__name__)
told = logging.getLogger("nhip.told")
logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it writes addresses, and addresses hold secrets

_LOOK_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 5
_LONGEST_PAUSE_SECONDS = 600


class ChannelError(Exception):
    """A channel did not take a message. Says why, without its address: that holds a secret."""


class Channel(Protocol):
    """A way to tell people."""

    name: str
    language: Literal["vi", "en"]

    def send(self, title: str, body: str) -> None:
        """Send one message; `ChannelError` when it was not taken."""
        ...


class LogChannel:
    """Tells the log, always: the channel that needs nothing."""

    def __init__(self) -> None:
        """Speak English, as logs do."""
        self.name = "log"
        self.language: Literal["vi", "en"] = "en"

    def send(self, title: str, body: str) -> None:
        """Write one line."""
        told.warning("%s | %s", title, " | ".join(body.splitlines()))


class AppriseChannel:
    """Tells whatever apprise can reach: mail, Telegram, webhooks and a hundred more."""

    def __init__(self, settings: Settings) -> None:
        """Read the address from its file; `ChannelError` when apprise does not know such an address."""
        self.name = settings.channel
        self.language: Literal["vi", "en"] = settings.language
        self._apprise = apprise.Apprise()
        timeouts = f"cto={settings.timeout_seconds:g}&rto={settings.timeout_seconds:g}"
        url = settings.url_file.read_text(encoding="utf-8", errors="replace").strip()
        if not self._apprise.add(f"{url}{'&' if '?' in url else '?'}{timeouts}"):
            raise ChannelError(f"{settings.url_file}: is not an address that apprise knows (for example mailto://…)")

    def send(self, title: str, body: str) -> None:
        """Send through apprise, from this very thread.

        `Apprise.notify` would hand the work to a pool whose threads the interpreter waits for when it ends: a channel
        that hangs would keep the collector from stopping.
        """
        taken = [service.notify(title=title, body=body) for service in self._apprise]  # all of them, whoever fails
        if not all(taken):
            raise ChannelError("was not taken")


def open_channels(settings: Sequence[Settings]) -> list[Channel]:
    """Return every configured channel, and the log."""
    return [LogChannel(), *(AppriseChannel(item) for item in settings)]


@dataclass(frozen=True, slots=True)
class _Due:
    id: int
    attempts: int
    title: str
    body: str


class Notifier:
    """Runs one thread for each channel."""

    def __init__(
        self, database: sa.Engine, channels: Sequence[Channel], clock: Callable[[], int] = time.time_ns
    ) -> None:
        """Tell through `channels` what `database` holds for them."""
        self._database = database
        self._clock = clock
        self._names = [channel.name for channel in channels]
        self._stop = threading.Event()
        self._unmarked: set[int] = set()  # sent, and the outbox could not be told: not to be sent again
        self._threads = [
            threading.Thread(target=self._run, args=(channel,), name=f"tell-{channel.name}", daemon=True)
            for channel in channels
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, wait_seconds: float = 2) -> None:
        """End; a channel that hangs is left behind, and its message stays in the outbox."""
        self._stop.set()
        deadline = time.monotonic() + wait_seconds
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))

    def waiting(self) -> int:
        """Return how many messages have not been sent, of those for a channel that there still is."""
        query = sa.select(sa.func.count()).select_from(outbox)
        unsent = query.where(outbox.c.sent_at.is_(None), outbox.c.loud, outbox.c.channel.in_(self._names))
        with self._database.connect() as db:
            return int(db.execute(unsent).scalar_one())

    def _run(self, channel: Channel) -> None:
        while not self._stop.wait(_LOOK_SECONDS):
            try:
                self._turn(channel)
            except sa.exc.SQLAlchemyError as exc:
                log.error("the outbox cannot be read or written: %s", getattr(exc, "orig", exc))

    def _turn(self, channel: Channel) -> None:
        for due in self._due(channel):
            if self._stop.is_set():
                return
            try:
                if due.id not in self._unmarked:
                    channel.send(due.title, due.body)
            except Exception as exc:  # noqa: BLE001  (a channel's library may fail in any way; the loop goes on)
                words = str(exc) if isinstance(exc, ChannelError) else type(exc).__name__
                log.warning("channel %s: %s; it is tried again", channel.name, words)
                self._later(due, words)
            else:
                self._unmarked.add(due.id)
                self._sent(due)
                self._unmarked.discard(due.id)

    def _due(self, channel: Channel) -> list[_Due]:
        before = outbox.alias()
        # An end is not told before its beginning: who heard of neither would be called to what is long over.
        held = sa.exists().where(
            before.c.channel == outbox.c.channel,
            before.c.incident == outbox.c.incident,
            before.c.id < outbox.c.id,
            before.c.loud,
            before.c.sent_at.is_(None),
        )
        query = (
            sa.select(outbox.c.id.label("note"), outbox.c.what, outbox.c.attempts, incidents, sites.c.name)
            .join(incidents, incidents.c.id == outbox.c.incident)
            .outerjoin(sites, sites.c.site == incidents.c.site)
            .where(
                outbox.c.channel == channel.name,
                outbox.c.loud,
                outbox.c.sent_at.is_(None),
                outbox.c.due_at <= self._clock(),
                ~held,
            )
            .order_by(outbox.c.id)
            .limit(20)
        )
        with self._database.connect() as db:
            rows = db.execute(query).mappings().all()
        due = []
        for row in rows:
            incident = incident_of(row)
            title, body = message(
                what=row["what"],
                language=channel.language,
                incident_id=incident.id,
                place=incident.place,
                site_name=row["name"] or incident.place.site,
                began_at=incident.began_at,
                resolved_at=incident.resolved_at if row["what"] == "resolved" else None,
                evidence=list(incident.evidence.values()),
                why=incident.cause,
                lost=len(incident.reached),
            )
            due.append(_Due(row["note"], row["attempts"], title, body))
        return due

    def _sent(self, due: _Due) -> None:
        with self._database.begin() as db:
            change = sa.update(outbox).where(outbox.c.id == due.id)
            db.execute(change.values(sent_at=self._clock(), attempts=due.attempts + 1, error=None))

    def _later(self, due: _Due, words: str) -> None:
        pause = min(_FIRST_PAUSE_SECONDS * 2**due.attempts, _LONGEST_PAUSE_SECONDS)
        with self._database.begin() as db:
            change = sa.update(outbox).where(outbox.c.id == due.id)
            due_at = self._clock() + pause * 1_000_000_000
            db.execute(change.values(attempts=due.attempts + 1, due_at=due_at, error=words))

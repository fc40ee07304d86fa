"""The outbox: what is to be told, in the database. All statements about it stand here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from collector.database import drills, incidents, news, outbox, timeline
from collector.record import incident_of
from collector.telling.drill import Drill
from collector.telling.facts import Telling
from collector.telling.parcels import Waiting
from collector.telling.plan import ALARMS, News

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collector.incident import Incident
    from collector.telling.plan import Delivery

_MOST = 5_000
_TAKEN = ("acknowledged", "assigned", "comment")
"""What shows in a timeline that somebody is at it."""


class Unanswered(NamedTuple):
    """A red incident that nobody has taken on. Instants are nanoseconds: of its last alarm, of its last call since."""

    incident: Incident
    alarm_at: int
    called_at: int


class Outbox:
    """Reads and writes the outbox."""

    def __init__(self, database: sa.Engine) -> None:
        """Work on `database`."""
        self.database = database

    # Planning.

    def unplanned(self) -> list[tuple[int, News]]:
        """Return news that nobody has planned, each with its number, oldest first."""
        query = sa.select(news.c.id.label("news"), news.c.what, news.c.at, incidents).join(incidents)
        query = query.where(news.c.planned_at.is_(None)).order_by(news.c.id).limit(_MOST)
        with self.database.connect() as db:
            rows = db.execute(query).mappings().all()
        return [(row["news"], News(incident_of(row), row["what"], row["at"])) for row in rows]

    def told(self, incident: str) -> dict[str, str]:
        """Return the channels that an incident's beginning goes or went to, and whom each reaches."""
        query = sa.select(outbox.c.channel, outbox.c.who).where(outbox.c.incident == incident, outbox.c.loud)
        with self.database.connect() as db:
            return {row.channel: row.who for row in db.execute(query.order_by(outbox.c.id))}

    def plan(self, number: int | None, incident: str | None, deliveries: Iterable[Delivery], now: int) -> None:
        """Write what goes out, and that the news of this number is planned."""
        with self.database.begin() as db:
            for each in deliveries:
                row = {
                    "incident": incident, "what": each.what, "channel": each.channel, "at": each.at,
                    "loud": each.loud, "who": each.who, "minutes": each.minutes, "due_at": each.due_at, "attempts": 0,
                }  # fmt: skip
                db.execute(insert(outbox).values(row).on_conflict_do_nothing())
            if number is not None:
                db.execute(sa.update(news).where(news.c.id == number).values(planned_at=now))

    def unanswered(self) -> list[Unanswered]:
        """Return open red incidents that have rung and that nobody has taken on since."""
        alarm_at = sa.func.max(news.c.at).label("alarm_at")
        alarms = sa.select(news.c.incident, alarm_at).where(news.c.what.in_(ALARMS)).group_by(news.c.incident)
        alarm = alarms.subquery()
        taken = sa.exists().where(
            timeline.c.incident == incidents.c.id, timeline.c.kind.in_(_TAKEN), timeline.c.at >= alarm.c.alarm_at
        )
        called = (
            sa.select(sa.func.max(outbox.c.at))
            .where(outbox.c.incident == incidents.c.id, outbox.c.what == "unanswered")
            .scalar_subquery()
        )
        query = (
            sa.select(incidents, alarm.c.alarm_at, called.label("called_at"))
            .join(alarm, alarm.c.incident == incidents.c.id)
            .where(incidents.c.state == "open", incidents.c.severity == "red", ~taken)
        )
        with self.database.connect() as db:
            rows = db.execute(query).mappings().all()
        return [Unanswered(incident_of(row), row["alarm_at"], row["called_at"] or 0) for row in rows]

    # Sending.

    def waiting(self, channel: str) -> list[Waiting]:
        """Return what has not gone over a channel yet, oldest first. What somebody has taken on calls nobody."""
        before = outbox.alias()
        begun = sa.exists().where(
            before.c.channel == channel,
            before.c.incident == outbox.c.incident,
            before.c.loud,
            before.c.sent_at.is_not(None),
        )
        query = (
            sa.select(
                outbox.c.id.label("row"), outbox.c.what, outbox.c.at, outbox.c.due_at, outbox.c.loud,
                outbox.c.attempts, outbox.c.minutes, begun.label("begun"), incidents,
            )
            .join(incidents, incidents.c.id == outbox.c.incident)
            .where(outbox.c.channel == channel, outbox.c.sent_at.is_(None))
            .order_by(outbox.c.id)
            .limit(_MOST)
        )  # fmt: skip
        with self.database.connect() as db:
            rows = db.execute(query).mappings().all()
        return [
            Waiting(
                row["row"], incident_of(row), row["what"], row["at"], row["due_at"], row["loud"],
                row["attempts"], row["minutes"], row["begun"],
            )
            for row in rows
        ]  # fmt: skip

    def drill_rows(self, channel: str, now: int) -> list[tuple[int, str, int, Drill]]:
        """Return what is to be said of drills now: row, what, attempts, and the drill."""
        query = (
            sa.select(outbox.c.id.label("row"), outbox.c.what, outbox.c.attempts, drills)
            .join(drills, drills.c.alarm_at == outbox.c.at)
            .where(
                outbox.c.channel == channel, outbox.c.incident.is_(None), outbox.c.sent_at.is_(None),
                outbox.c.due_at <= now,
            )
            .order_by(outbox.c.id)
        )  # fmt: skip
        with self.database.connect() as db:
            rows = db.execute(query).mappings().all()
        return [(row["row"], row["what"], row["attempts"], Drill.of(dict(row))) for row in rows]

    def forget_answered(self, channel: str) -> int:
        """Drop calls that nobody has to hear any more, because somebody is at it; return how many that were."""
        taken = sa.exists().where(
            timeline.c.incident == outbox.c.incident, timeline.c.kind.in_(_TAKEN), timeline.c.at >= outbox.c.at
        )
        calls = sa.and_(outbox.c.channel == channel, outbox.c.sent_at.is_(None), outbox.c.what == "unanswered")
        with self.database.begin() as db:
            return db.execute(sa.delete(outbox).where(calls, taken)).rowcount

    def sent(self, rows: Sequence[int], now: int) -> None:
        """Write down that rows have gone."""
        change = sa.update(outbox).where(outbox.c.id.in_(rows))
        with self.database.begin() as db:
            db.execute(change.values(sent_at=now, attempts=outbox.c.attempts + 1, error=None))

    def later(self, rows: Sequence[int], due_at: int, error: str) -> None:
        """Write down that rows were not taken, why, and when they are tried again."""
        change = sa.update(outbox).where(outbox.c.id.in_(rows))
        with self.database.begin() as db:
            db.execute(change.values(attempts=outbox.c.attempts + 1, due_at=due_at, error=error))

    def hurry(self, channel: str, now: int) -> None:
        """Let all that was refused by a channel be tried now: it takes messages again."""
        failed = sa.and_(outbox.c.channel == channel, outbox.c.sent_at.is_(None), outbox.c.attempts > 0)
        with self.database.begin() as db:
            db.execute(sa.update(outbox).where(failed, outbox.c.due_at > now).values(due_at=now))

    def rang_at(self, channel: str, since: int) -> list[int]:
        """Return when a channel rang, from an instant on."""
        query = sa.select(outbox.c.sent_at).where(outbox.c.channel == channel, outbox.c.loud, outbox.c.sent_at >= since)
        with self.database.connect() as db:
            return list(db.execute(query.distinct()).scalars())

    def open_over(self, channel: str) -> list[Telling]:
        """Return the open incidents that a channel has been told of."""
        sent = sa.exists().where(
            outbox.c.incident == incidents.c.id, outbox.c.channel == channel, outbox.c.sent_at.is_not(None)
        )
        with self.database.connect() as db:
            rows = db.execute(sa.select(incidents).where(incidents.c.state == "open", sent)).mappings().all()
        return [Telling(incident_of(row), "updated", row["opened_at"]) for row in rows]

    # For those who watch.

    def count(self, channels: Sequence[str]) -> int:
        """Return how many loud messages wait, of those for a channel that there still is."""
        query = sa.select(sa.func.count()).select_from(outbox)
        unsent = query.where(outbox.c.sent_at.is_(None), outbox.c.loud, outbox.c.channel.in_(channels))
        with self.database.connect() as db:
            return int(db.execute(unsent).scalar_one())

    def unheard(self, channels: Sequence[str], before: int) -> str:
        """Return an open incident that rang before an instant and none of `channels` has taken; "" where none is."""
        heard = outbox.alias()
        reached = sa.exists().where(
            heard.c.incident == outbox.c.incident, heard.c.channel.in_(channels), heard.c.sent_at.is_not(None)
        )
        query = (
            sa.select(outbox.c.incident)
            .join(incidents, incidents.c.id == outbox.c.incident)
            .where(
                outbox.c.channel.in_(channels), outbox.c.loud, outbox.c.sent_at.is_(None), outbox.c.at < before,
                incidents.c.state == "open", ~reached,
            )
            .limit(1)
        )  # fmt: skip
        with self.database.connect() as db:
            return str(db.execute(query).scalar() or "")

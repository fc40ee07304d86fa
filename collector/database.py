"""What the collector must not forget beside the metrics: sites, incidents, timelines, tokens, leases, the outbox.

SQLAlchemy Core on SQLite; the same statements run on PostgreSQL where the user has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from collector.journal import sqlite_words
from collector.upgrade import upgrade_with

if TYPE_CHECKING:
    from pathlib import Path

metadata = sa.MetaData()

sites = sa.Table(
    "sites",
    metadata,
    sa.Column("site", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("group_name", sa.String, nullable=False),
)

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("state", sa.String, nullable=False, index=True),
    sa.Column("severity", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("site", sa.String, nullable=False, index=True),
    sa.Column("place", sa.String, nullable=False),
    sa.Column("began_at", sa.BigInteger, nullable=False),
    sa.Column("opened_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("resolved_at", sa.BigInteger),
    sa.Column("acknowledged_at", sa.BigInteger),
    sa.Column("acknowledged_by", sa.String),
    sa.Column("assigned_to", sa.String),
    sa.Column("cause", sa.String, nullable=False, server_default=""),
    sa.Column("serious", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("more", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("evidence", sa.JSON, nullable=False),
)

reaches = sa.Table(
    "reaches",
    metadata,
    sa.Column("incident", sa.ForeignKey("incidents.id"), primary_key=True),
    sa.Column("site", sa.String, primary_key=True, index=True),
)

timeline = sa.Table(
    "timeline",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("incident", sa.ForeignKey("incidents.id"), nullable=False, index=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("about", sa.String, nullable=False),
    sa.Column("evidence", sa.JSON),
    sa.Column("text", sa.String),
    # A journal that is read again after a crash finds the same things: each is written once.
    sa.UniqueConstraint("incident", "at", "kind", "about"),
)

# What the judge wants told, written beside the incident itself; who hears of it is planned from here.
news = sa.Table(
    "news",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("incident", sa.ForeignKey("incidents.id"), nullable=False),
    sa.Column("what", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),  # of the transition: it may come again
    sa.Column("planned_at", sa.BigInteger, index=True),
    sa.UniqueConstraint("incident", "what", "at"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("incident", sa.ForeignKey("incidents.id")),  # none: of a drill
    sa.Column("what", sa.String, nullable=False),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("loud", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("who", sa.String, nullable=False, server_default=""),
    sa.Column("minutes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("due_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("sent_at", sa.BigInteger),
    sa.Column("error", sa.String),
    sa.UniqueConstraint("incident", "what", "channel", "at"),
    sa.Index("outbox_waiting", "channel", "sent_at"),
)

drills = sa.Table(
    "drills",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("announced_at", sa.BigInteger, nullable=False),
    sa.Column("alarm_at", sa.BigInteger, nullable=False, unique=True),
    sa.Column("until_at", sa.BigInteger, nullable=False),
    sa.Column("signal", sa.Boolean, nullable=False),  # whether there is a dead-man signal to withhold
    sa.Column("rung", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("alarm_heard_at", sa.BigInteger),
    sa.Column("alarm_heard_by", sa.String),
    sa.Column("silence_heard_at", sa.BigInteger),
    sa.Column("silence_heard_by", sa.String),
    sa.Column("ended_at", sa.BigInteger),
)

diagnoses = sa.Table(
    "diagnoses",
    metadata,
    sa.Column("incident", sa.ForeignKey("incidents.id"), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("final", sa.Boolean, nullable=False),
    sa.Column("told", sa.JSON),  # as `nhip diagnose --json` says it; nothing where a site could not be looked at
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("hash", sa.String, nullable=False, unique=True),
    sa.Column("role", sa.String, nullable=False),
    sa.Column("site", sa.String),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("revoked_at", sa.BigInteger),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("hash", sa.String, primary_key=True),
    sa.Column("token", sa.ForeignKey("tokens.id"), nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("site", sa.String, nullable=False),
    sa.Column("upstream", sa.String, nullable=False),
    sa.Column("server", sa.String, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("granted_at", sa.Float, nullable=False, index=True),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)

positions = sa.Table(
    "positions",
    metadata,
    sa.Column("consumer", sa.String, primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)


class DatabaseError(Exception):
    """The database cannot be opened. Says which file and why."""


def open_database(path: Path) -> sa.Engine:
    """Open or create the database; any number of processes may, at once. `DatabaseError` says why it cannot be."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 10})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        cursor.execute("pragma journal_mode=wal")
        cursor.execute("pragma synchronous=full")
        cursor.execute("pragma foreign_keys=on")
        cursor.close()

    try:
        metadata.create_all(engine)
        upgrade_with(engine, metadata, rebuilt={"outbox": {"at", "loud", "who"}})
    except sa.exc.SQLAlchemyError as exc:
        raise DatabaseError(f"{path}: {sqlite_words(getattr(exc, 'orig', exc))}") from None
    return engine

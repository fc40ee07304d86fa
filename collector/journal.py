"""What is acknowledged is in it: an append-only record of every body that was accepted, in the order of arrival.

Detection and storage read from it and can start again from any position. This is the seam for scale: one machine keeps
it in SQLite; many machines would keep it in a partitioned stream behind the same four verbs (append, read, trim, last).

SQLite and not files of our own, because it already has what a journal needs: a transaction that is on the disk when it
returns, a unique index that makes a batch sent twice count once, and a clear word when the disk is full.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from collector.catalogue import Series

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from collector.catalogue import Catalogue

ORDER = "order"
"""In the place of a precision: the entry's body is an order to the judge (`orders.py`)."""

_SCHEMA = """
create table if not exists entries (
    position integer primary key autoincrement,
    arrived_at integer not null,
    sent_at integer,
    site text,
    precision text not null,
    agent text,
    sequence integer,
    body blob not null
);
create table if not exists senders (agent text primary key, sequence integer not null);
create table if not exists series (id integer primary key, site text, node text, measurement text, target text);
create table if not exists signals (id integer primary key, series_id integer not null, metric text not null);
"""


class JournalError(Exception):
    """The journal cannot take more: a full disk, a folder without permission, a damaged file. Says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One body as it came. `arrived_at` and `sent_at` are nanoseconds, by the collector's and the agent's clock.

    `site` is the one that the writer's token is bound to, if any; `agent` and `sequence` name a batch of ours, so that
    it counts once however often it is sent. An entry with an empty body marks a start of the collector.
    """

    arrived_at: int
    body: bytes
    precision: str = "ns"
    site: str | None = None
    sent_at: int | None = None
    agent: str | None = None
    sequence: int | None = None
    position: int = 0

    @property
    def points(self) -> bool:
        """Tell whether it holds points: neither a start nor an order to the judge."""
        return bool(self.body) and self.precision != ORDER


class Journal:
    """The embedded journal. One thread appends; any thread reads with a `Journal` of its own on the same file."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open or create the file, or only read it; `JournalError` says why it cannot be."""
        self.path = path
        try:
            if read_only:
                self._db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10)
                self._kept_series, self._kept_signals = self._counts()
                return
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            # WAL: readers never wait for the writer. FULL: a commit is on the disk before anyone is told so.
            self._db.executescript("pragma page_size=16384; pragma journal_mode=wal; pragma synchronous=full;")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as exc:
            raise JournalError(f"{path}: {sqlite_words(exc)}") from None
        self._kept_series, self._kept_signals = self._counts()

    def append(self, entries: Sequence[Entry], catalogue: Catalogue) -> list[int | None]:
        """Append all of `entries` in one transaction, with what is new in the catalogue.

        Returns each one's position, or None for a batch that was already there. `JournalError`: none was kept.
        """
        positions: list[int | None] = []
        try:
            self._db.execute("begin immediate")
            try:
                self._keep(catalogue)
                positions = [self._append(entry) for entry in entries]
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("rollback")
                self._kept_series, self._kept_signals = self._counts()
                raise
        except sqlite3.Error as exc:
            raise JournalError(f"{self.path}: {sqlite_words(exc)}") from None
        return positions

    def read(self, after: int, limit: int = 1_000) -> Iterator[Entry]:
        """Yield at most `limit` entries that come after position `after`, in order."""
        rows = self._db.execute(
            "select arrived_at, body, precision, site, sent_at, agent, sequence, position from entries"
            " where position > ? order by position limit ?",
            (after, limit),
        )
        for row in rows.fetchall():
            yield Entry(
                arrived_at=row[0],
                body=row[1],
                precision=row[2],
                site=row[3],
                sent_at=row[4],
                agent=row[5],
                sequence=row[6],
                position=row[7],
            )

    def count(self, after: int) -> int:
        """Return how many entries come after a position."""
        return int(self._db.execute("select count(*) from entries where position > ?", (after,)).fetchone()[0])

    def last(self) -> int:
        """Return the last position given out, 0 for none."""
        row = self._db.execute("select seq from sqlite_sequence where name = 'entries'").fetchone()
        return int(row[0]) if row else 0

    def restore(self, catalogue: Catalogue) -> None:
        """Give `catalogue` the names that earlier runs numbered."""
        series = (
            Series(*row) for row in self._db.execute("select site, node, measurement, target from series order by id")
        )
        signals = self._db.execute("select series_id, metric from signals order by id")
        catalogue.restore(list(series), signals.fetchall())

    def trim(self, up_to: int, limit: int = 500) -> int:
        """Delete at most `limit` of the oldest entries with positions up to `up_to`; return how many went."""
        cursor = self._db.execute(
            "delete from entries where position in (select position from entries where position <= ?"
            " order by position limit ?)",
            (up_to, limit),
        )
        return cursor.rowcount

    def size_bytes(self) -> int:
        """Return the bytes that entries take in the file, free pages not counted."""
        pages, free, size = (
            self._db.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def position_at(self, arrived_at: int) -> int:
        """Return the position up to which every entry arrived at or before an instant, 0 for none."""
        # From the oldest on: upkeep asks for what has just become too old, which is near. Not from the newest back,
        # past everything that is kept.
        row = self._db.execute(
            "select position from entries where arrived_at > ? order by position limit 1", (arrived_at,)
        ).fetchone()
        return int(row[0]) - 1 if row else self.last()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _append(self, entry: Entry) -> int | None:
        if entry.agent is not None and entry.sequence is not None:
            # A sender numbers its batches upwards and sends the oldest first, so one number a sender is enough to
            # know a repeated batch, even after the entry itself was trimmed.
            known = self._db.execute(
                "insert into senders values (?, ?) on conflict (agent) do update set sequence = excluded.sequence"
                " where excluded.sequence > sequence",
                (entry.agent, entry.sequence),
            )
            if known.rowcount == 0:
                return None
        cursor = self._db.execute(
            "insert into entries (arrived_at, sent_at, site, precision, agent, sequence, body) values (?,?,?,?,?,?,?)",
            (entry.arrived_at, entry.sent_at, entry.site, entry.precision, entry.agent, entry.sequence, entry.body),
        )
        return cursor.lastrowid

    def _keep(self, catalogue: Catalogue) -> None:
        series = catalogue.series[self._kept_series :]
        signals = catalogue.signals[self._kept_signals :]
        self._db.executemany(
            "insert into series values (?,?,?,?,?)", [(self._kept_series + i, *s) for i, s in enumerate(series)]
        )
        self._db.executemany("insert into signals values (?,?,?)", [(s.id, s.series_id, s.metric) for s in signals])
        self._kept_series += len(series)
        self._kept_signals += len(signals)

    def _counts(self) -> tuple[int, int]:
        return tuple(
            self._db.execute("select (select count(*) from series), (select count(*) from signals)").fetchone()
        )


def sqlite_words(exc: BaseException) -> str:
    """Say what SQLite found so that it tells what to do."""
    words = str(exc)
    return {
        "database or disk is full": "the disk is full: free some space, nothing acknowledged is lost",
        "disk I/O error": "the disk refuses to read or write (full, or failing)",
        "unable to open database file": "cannot be opened: does the folder exist, and may this user write in it?",
        "attempt to write a readonly database": "is read-only for this user",
    }.get(words, words)

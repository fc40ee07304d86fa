"""Metrics over time, in DuckDB: raw points for days, minutes for weeks, hours and their verdicts for years.

Tables are cut by day or month, so that what is too old is dropped whole and a question reads only the days it is about.
One thread writes; any other reads through `reader()`, a cursor of its own.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from collector import verdicts
from collector.reading import Reader
from collector.tiers import HOURS, MINUTES, RAW, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from collector.catalogue import Signal
    from collector.columns import Columns
    from collector.config import Store as Settings
    from collector.tiers import Tier

NS = 1_000_000_000
DAY = 86_400
_SETTLE_SECONDS = 20
_ROLLED_POINT_BYTES = 100
_ROLLED = "(signal integer, bucket bigint, n bigint, lo double, p50 double, p95 double, hi double, total double)"


class StoreError(Exception):
    """The metrics' database cannot be used. Says which file and why."""


class Store:
    """The metrics' database."""

    def __init__(self, path: Path, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        """Open or create it; `StoreError` says why it cannot be. `clock` gives seconds since the epoch."""
        self._settings = settings
        self._clock = clock
        self.out_of_range = 0
        """Points that are older than raw points are kept, or lie more than a day ahead: counted, not stored."""
        try:
            self._db = duckdb.connect(str(path))
            # One thread: a question about 90 days must leave a core to judging. Order does not matter to any table.
            self._db.execute("set threads = 1; set preserve_insertion_order = false")
            self._db.execute(f"set memory_limit = '{settings.memory_limit_bytes}B'")
            self._db.execute("create table if not exists progress (name varchar primary key, value bigint)")
            self._db.execute("create table if not exists dirty (hour bigint primary key)")
            self._rules = verdicts.Rules(self._db)
        except duckdb.Error as exc:
            raise StoreError(_words(path, str(exc))) from None
        self._tables = {row[0] for row in self._db.execute("select table_name from duckdb_tables()").fetchall()}
        self._published = set(self._tables)  # what readers may ask for: never a table that is not committed

    def position(self) -> int:
        """Return the journal's position up to which everything is stored."""
        return self._progress("position")

    def add(self, batches: Sequence[Columns], position: int) -> None:
        """Store batches and the position they reach, in one transaction: each point once, whatever happens."""
        signals, at, values = (
            np.concatenate([getattr(b, name) for b in batches]) for name in ("signals", "measured_at", "values")
        )
        oldest = int((self._clock() - self._settings.raw_days * DAY) * NS)
        wanted = (at >= oldest) & (at < int((self._clock() + DAY) * NS))
        self.out_of_range += int((~wanted).sum())
        if not wanted.all():
            signals, at, values = signals[wanted], at[wanted], values[wanted]
        days = at // (DAY * NS)
        with _Transaction(self._db, self._tables, self._published):
            for day in np.unique(days).tolist():
                mine = slice(None) if days[0] == days[-1] == day and (days == day).all() else days == day
                self._insert(RAW.table(day * DAY), signals[mine], at[mine], values[mine])
            self._mark_late(at)
            self._set_progress("position", position)

    def learn(self, signals: Sequence[Signal]) -> None:
        """Know all of the catalogue's signals, in the order of their numbers: of some, verdicts are kept."""
        self._rules.learn(signals)

    def roll_up(self) -> int:
        """Make minutes, hours and verdicts of what is complete; return how many hours late points had made anew."""
        now = int(self._clock()) - _SETTLE_SECONDS
        anew = [row[0] for row in self._db.execute("select hour from dirty order by hour").fetchall()]
        for hour in anew:
            self._again(hour)
        for tier in (MINUTES, HOURS, VERDICTS):
            done, until = self._progress(tier.prefix), now // tier.seconds * tier.seconds
            if done == 0:
                done = self._first_second(tier, until) // tier.seconds * tier.seconds
            while done < until:
                step = min(until, done + 3600)
                with _Transaction(self._db, self._tables, self._published):
                    self._roll(tier, done, step)
                    self._set_progress(tier.prefix, step)
                done = step
        return len(anew)

    def drop_old(self) -> list[str]:
        """Drop the tables whose every point is past its retention; return their names."""
        now = self._clock()
        kept = {
            RAW: self._settings.raw_days,
            MINUTES: self._settings.minute_days,
            HOURS: self._settings.hour_days,
            VERDICTS: self._settings.hour_days,
        }
        gone = []
        for tier, days in kept.items():
            oldest = tier.table(int(now - days * DAY))
            gone += [name for name in self._tables if name.startswith(tier.prefix) and name < oldest]
        for name in gone:
            self._published.discard(name)
            self._tables.discard(name)
            self._db.execute(f"drop table {name}")
        return gone

    def close(self) -> None:
        """Write everything out and close."""
        self._db.close()

    def reader(self) -> Reader:
        """Return a reader with a cursor of its own, for another thread."""
        return Reader(self._db.cursor(), self._published)

    def _insert(self, table: str, signals: Any, at: Any, values: Any) -> None:
        if table not in self._tables:
            self._db.execute(f"create table {table} (signal integer, measured_at bigint, value double)")
            self._tables.add(table)
        rows = {"signal": signals.astype(np.int32), "measured_at": at, "value": values}
        self._db.register("rows", rows)
        self._db.execute(f"insert into {table} select * from rows")
        self._db.unregister("rows")

    def _mark_late(self, at: npt.NDArray[np.int64]) -> None:
        """Remember the hours that were rolled up before these points came."""
        rolled = self._progress(MINUTES.prefix)
        if len(at) == 0 or int(at.min()) >= rolled * NS:
            return
        for hour in np.unique(at[at < rolled * NS] // (3600 * NS)).tolist():
            self._db.execute("insert or ignore into dirty values (?)", [hour])

    def _again(self, hour: int) -> None:
        start, end = hour * 3600, hour * 3600 + 3600
        with _Transaction(self._db, self._tables, self._published):
            for tier in (MINUTES, HOURS, VERDICTS):
                until = min(end, self._progress(tier.prefix))
                table = tier.table(start)
                if until > start and table in self._tables:
                    at = "hour" if tier is VERDICTS else "bucket"
                    self._db.execute(f"delete from {table} where {at} >= {start} and {at} < {until}")
                if until > start:
                    self._roll(tier, start, until)
            self._db.execute("delete from dirty where hour = ?", [hour])

    def _roll(self, tier: Tier, start: int, end: int) -> None:
        """Roll raw points of [start, end) up; both lie on a boundary, within one hour."""
        source, table = (MINUTES if tier is VERDICTS else RAW).table(start), tier.table(start)
        if source not in self._tables:
            return
        if table not in self._tables:
            self._db.execute(f"create table {table} {verdicts.COLUMNS if tier is VERDICTS else _ROLLED}")
            self._tables.add(table)
        if tier is VERDICTS:
            self._db.execute(f"insert into {table} {verdicts.of_minutes(source, start, end)}")
            return
        width = tier.seconds * NS
        within = f"measured_at >= {start * NS} and measured_at < {end * NS}"
        # Percentiles keep every value of what they are asked about in memory: so a part of the signals at a time.
        for first, last in self._parts(source, within):
            self._db.execute(
                f"insert into {table} select signal, bucket, n, lo, q[1], q[2], hi, total from (select signal,"
                f" measured_at // {width} * {tier.seconds} bucket, count(*) n, min(value) lo,"
                " quantile_cont(value, [0.5, 0.95]) q, max(value) hi, sum(value) total"
                f" from {source} where {within} and signal >= {first} and signal < {last}"
                " group by all) order by signal, bucket"
            )

    def _parts(self, source: str, within: str) -> list[tuple[int, int]]:
        """Part the signals so that the points of each part fit well into the memory that the database may use."""
        row = self._db.execute(f"select count(*), max(signal) from {source} where {within}").fetchone()
        count, last = row or (0, None)
        if last is None:
            return []
        parts = -(-count * _ROLLED_POINT_BYTES // self._settings.memory_limit_bytes)
        width = -(-(last + 1) // parts)
        return [(first, first + width) for first in range(0, last + 1, width)]

    def _first_second(self, tier: Tier, otherwise: int) -> int:
        """Return where there is something to begin with: verdicts are made of minutes, all else of points."""
        prefix, at = (MINUTES.prefix, "bucket") if tier is VERDICTS else (RAW.prefix, f"measured_at // {NS}")
        names = sorted(name for name in self._tables if name.startswith(prefix))
        if not names:
            return otherwise
        row = self._db.execute(f"select min({at}) from {names[0]}").fetchone()
        return otherwise if row is None or row[0] is None else int(row[0])

    def _progress(self, name: str) -> int:
        row = self._db.execute("select value from progress where name = ?", [name]).fetchone()
        return int(row[0]) if row else 0

    def _set_progress(self, name: str, value: int) -> None:
        self._db.execute("insert or replace into progress values (?, ?)", [name, value])


class _Transaction:
    """All or nothing, for the tables' names too: a table made in a transaction that fails does not exist."""

    def __init__(self, db: duckdb.DuckDBPyConnection, tables: set[str], published: set[str]) -> None:
        self._db = db
        self._tables = tables
        self._published = published

    def __enter__(self) -> None:
        self._db.execute("begin")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._db.execute("commit")
            self._published.update(self._tables)
            return
        self._tables.intersection_update(self._published)
        self._db.execute("rollback")


def _words(path: Path, text: str) -> str:
    holder = re.search(r"Conflicting lock is held in .*\(PID (\d+)\)", text)
    if holder:
        return (
            f"{path.parent} is in use by another collector (process {holder[1]}): stop that, or choose another folder"
        )
    return f"{path}: {text.splitlines()[0]}"

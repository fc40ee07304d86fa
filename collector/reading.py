"""Questions about stored metrics, answered from whichever resolution fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import duckdb
import numpy as np

from collector import verdicts
from collector.tiers import HOURS, MINUTES, RAW, VERDICTS
from collector.verdicts import Verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from collector.tiers import Tier

NS = 1_000_000_000


class Bucket(NamedTuple):
    """What a signal was like during one step of time; `at` is its beginning, in seconds since the epoch.

    Percentiles are exact over raw points; over buckets of minutes or hours, `p50` is the median of their medians and
    `p95` the 95th percentile of their 95th percentiles, which never says less than was.
    """

    at: int
    min: float
    p50: float
    p95: float
    max: float
    mean: float
    values: int


class Reader:
    """Answers questions about metrics, from whichever resolution fits."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, tables: set[str]) -> None:
        """Read through `cursor`."""
        self._db = cursor
        self._known = tables

    def series(self, signal: int, start: int, end: int, step: int) -> list[Bucket]:
        """Return a signal's buckets from `start` to `end`, `step` wide, in whole seconds; empty ones are absent."""
        try:
            return self._series(signal, start, end, step)
        except duckdb.CatalogException:  # a day grew too old and was dropped while it was asked for
            return self._series(signal, start, end, step)

    def _series(self, signal: int, start: int, end: int, step: int) -> list[Bucket]:
        parts, reached = [], start
        for tier in (HOURS, MINUTES):
            if step % tier.seconds:
                continue
            rolled = min(end, self._progress(tier.prefix))
            for table in self._tables_between(tier, reached, rolled):
                parts.append(
                    f"select bucket, n, lo, p50, p95, hi, total from {table}"
                    f" where signal = {signal} and bucket >= {reached} and bucket < {rolled}"
                )
            reached = max(reached, rolled)
        for table in self._tables_between(RAW, reached, end):
            parts.append(
                f"select measured_at // {NS} as bucket, 1 n, value lo, value p50, value p95, value hi, value total"
                f" from {table} where signal = {signal} and measured_at >= {reached * NS} and measured_at < {end * NS}"
            )
        if not parts:
            return []
        rows = self._db.execute(
            f"select bucket // {step} * {step} as b, min(lo), quantile_cont(p50, 0.5), quantile_cont(p95, 0.95),"
            f" max(hi), sum(total) / sum(n), sum(n) from ({' union all '.join(parts)}) group by b order by b"
        ).fetchall()
        return [Bucket(int(r[0]), r[1], r[2], r[3], r[4], r[5], int(r[6])) for r in rows]

    def verdicts(self, signals: Sequence[int], start: int, end: int) -> Verdicts:
        """Return these signals' verdicts from the hour of `start` to `end`, in seconds: to a minute ago at most."""
        try:
            return self._verdicts(signals, start, end)
        except duckdb.CatalogException:
            return self._verdicts(signals, start, end)

    def _verdicts(self, signals: Sequence[int], start: int, end: int) -> Verdicts:
        start -= start % VERDICTS.seconds
        rolled = min(end, self._progress(VERDICTS.prefix))
        parts = [
            f"select * from {table} where hour >= {start} and hour < {rolled}"
            for table in self._tables_between(VERDICTS, start, rolled)
        ]
        for hour in range(max(start, rolled), min(end, self._progress(MINUTES.prefix)), VERDICTS.seconds):
            last = min(hour + VERDICTS.seconds, end)
            parts += [verdicts.of_minutes(table, hour, last) for table in self._tables_between(MINUTES, hour, last)]
        if not parts:
            return Verdicts(*(np.zeros(0, dtype=np.int64) for _ in Verdicts._fields))
        asked = f"select * from ({' union all '.join(parts)}) where signal in (select unnest(?::integer[]))"
        found = self._db.execute(asked, [list(signals)]).fetchnumpy()
        return Verdicts(*(np.asarray(found[name], dtype=np.int64) for name in Verdicts._fields))

    def close(self) -> None:
        """Give the cursor back."""
        self._db.close()

    def _tables_between(self, tier: Tier, start: int, end: int) -> list[str]:
        if end <= start:
            return []
        first, last = tier.table(start), tier.table(end - 1)
        return sorted(t for t in list(self._known) if t.startswith(tier.prefix) and first <= t <= last)

    def _progress(self, name: str) -> int:
        row = self._db.execute("select value from progress where name = ?", [name]).fetchone()
        return int(row[0]) if row else 0

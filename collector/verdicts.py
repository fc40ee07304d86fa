"""Which minutes went well and which did not, of every signal that can say so: what availability is counted from.

A row a signal and hour: two words of 60 bits, one bit a minute. A minute went badly where less than half of its
attempts succeeded, or at least half of its packets were lost; where nothing was measured it has neither bit. So a month
of a province is a few hundred thousand rows, and results that come late mend their hour as they mend every roll-up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from checks.limits import base_metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import numpy.typing as npt

    from collector.catalogue import Signal

COLUMNS = "(signal integer, hour bigint, up bigint, down bigint)"
MINUTES_AN_HOUR = 60
_SUCCESS = {"success": 0.5, "active": 0.5, "packets_received": 0.5}
"""Metrics that are low where something is wrong, and from which mean of a minute on it is well."""
_LOSS = {"loss_ratio": 0.5}
"""Metrics that are high where something is wrong."""


class Verdicts(NamedTuple):
    """Rows as columns: `hour` is its beginning in seconds since the epoch; of `up` and `down` bit 0 is minute 0."""

    signal: npt.NDArray[np.int64]
    hour: npt.NDArray[np.int64]
    up: npt.NDArray[np.int64]
    down: npt.NDArray[np.int64]


def says(metric: str) -> bool:
    """Tell whether a metric says by itself that something works or does not."""
    return base_metric(metric) in _SUCCESS or base_metric(metric) in _LOSS


class Rules:
    """Which signals are judged how, kept beside the metrics: a question about the last hour judges by it too."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        """Begin anew in the database: the rules are this program's, not the last one's."""
        self._db = db
        self._known = 0
        db.execute("create or replace table verdict_rules (signal integer, low boolean, bound double)")

    def learn(self, signals: Sequence[Signal]) -> None:
        """Take in the signals that are new since last time."""
        new = [signal for signal in signals[self._known :] if says(signal.metric)]
        self._known = len(signals)
        if not new:
            return
        names = [base_metric(signal.metric) for signal in new]
        rows = {
            "signal": np.array([signal.id for signal in new], dtype=np.int32),
            "low": np.array([name in _SUCCESS for name in names]),
            "bound": np.array([(_SUCCESS | _LOSS)[name] for name in names]),
        }
        self._db.register("rows", rows)
        self._db.execute("insert into verdict_rules select * from rows")
        self._db.unregister("rows")


def of_minutes(table: str, hour: int, end: int) -> str:
    """Return the question for one hour's verdicts, up to `end`, by the table of its minutes."""
    return (
        f"select signal, {hour} as hour, bit_or(case when bad then 0 else 1::bigint << minute end) as up,"
        " bit_or(case when bad then 1::bigint << minute else 0 end) as down"
        f" from (select signal, (bucket - {hour}) // 60 as minute, (total / n < bound) = low as bad"
        f" from {table} join verdict_rules using (signal) where bucket >= {hour} and bucket < {end}) group by signal"
    )


def minutes_of(
    words: npt.NDArray[np.int64], hours: npt.NDArray[np.int64], start: int, count: int
) -> npt.NDArray[np.bool_]:
    """Spread words of bits over `count` minutes from the hour `start` (seconds) on."""
    spread = np.zeros(count, dtype=np.bool_)
    first = (hours - start) // 60
    for minute in range(MINUTES_AN_HOUR):
        at = first + minute
        within = (at >= 0) & (at < count)
        spread[at[within]] = (words[within] >> minute) & 1
    return spread

"""Rolling a nation's minute up with little memory: every signal, exactly, whatever the database may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from collector.columns import Columns
from collector.config import Store as Settings
from collector.store import MINUTES, NS, Store

if TYPE_CHECKING:
    from pathlib import Path

MINUTE = 1_795_000_000 // 60 * 60


def second(at: int, signals: np.ndarray, chance: np.random.Generator) -> Columns:
    when = np.full(len(signals), at * NS, dtype=np.int64)
    return Columns(signals, when, chance.random(len(signals)), np.array([0]), len(signals))


@pytest.mark.parametrize("count", [1, 7, 150_000])
def test_a_minute_of_many_signals_fits_into_little_memory_and_stays_exact(tmp_path: Path, count: int) -> None:
    chance = np.random.default_rng(1)
    signals = np.unique(chance.integers(0, 400_000, count)).astype(np.int64)
    store = Store(tmp_path / "m.duckdb", Settings(memory_limit_bytes=64_000_000), clock=lambda: MINUTE + 100.0)
    try:
        body = [second(MINUTE + n * 4, signals, chance) for n in range(15)]
        store.add(body, 1)
        store.roll_up()
        rolled = store._db.execute(
            f"select signal, n, lo, p50, p95, hi, total from {MINUTES.table(MINUTE)} order by signal"  # noqa: S608  (a table of ours)
        ).fetchnumpy()
    finally:
        store.close()
    values = np.array([columns.values for columns in body])
    assert (rolled["signal"] == signals).all()
    assert (rolled["n"] == 15).all()
    wanted = [values.min(0), *np.quantile(values, [0.5, 0.95], axis=0), values.max(0), values.sum(0)]
    for name, column in zip(("lo", "p50", "p95", "hi", "total"), wanted, strict=True):
        np.testing.assert_allclose(rolled[name], column)

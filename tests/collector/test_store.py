"""Metrics over time: each point once, roll-ups that agree with the points, and what is old gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from collector.columns import Columns
from collector.config import Store as Settings
from collector.store import DAY, NS, Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_795_000_000


class Time:
    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path, time: Time) -> Iterator[Store]:
    opened = Store(tmp_path / "metrics.duckdb", Settings(raw_days=2, minute_days=10, hour_days=100), clock=time)
    yield opened
    opened.close()


def columns(seconds: list[int], values: list[float], signal: int = 1) -> Columns:
    at = np.array(seconds, dtype=np.int64) * NS
    return Columns(np.full(len(at), signal), at, np.array(values, dtype=float), np.array([0]), len(at))


def test_points_come_back_in_buckets_with_their_spread(store: Store) -> None:
    start = NOW - 100
    store.add([columns([start, start + 1, start + 2, start + 60], [3, 1, 2, 9])], 1)
    reader = store.reader()
    first, last = reader.series(1, start, NOW, 50)
    reader.close()
    assert (first.min, first.p50, first.max, first.mean, first.values) == (1, 2, 3, 2, 3)
    assert first.p95 == pytest.approx(2.9)
    assert (last.values, last.p50) == (1, 9)


def test_what_was_not_measured_is_absent_and_never_zero(store: Store) -> None:
    store.add([columns([NOW - 3000, NOW - 10], [1, 1])], 1)
    reader = store.reader()
    assert [bucket.at for bucket in reader.series(1, NOW - 3600, NOW, 600)] == [
        (NOW - 3000) // 600 * 600,
        (NOW - 10) // 600 * 600,
    ]
    assert reader.series(2, NOW - 3600, NOW, 600) == []
    reader.close()


def test_roll_ups_say_what_the_points_say_and_late_points_are_rolled_up_again(store: Store, time: Time) -> None:
    chance = np.random.default_rng(1)
    seconds = (NOW // 3600 * 3600 - 7200 + np.arange(0, 7200, 7)).tolist()
    values = chance.uniform(0, 1, len(seconds)).round(3).tolist()
    store.add([columns(seconds[::2], values[::2])], 1)
    store.roll_up()
    store.add([columns(seconds[1::2], values[1::2])], 2)  # half of them come late
    assert store.roll_up() == 2
    reader = store.reader()
    hours = reader.series(1, seconds[0], NOW, 3600)
    minutes = reader.series(1, seconds[0], NOW, 60)
    reader.close()
    for bucket, width in [(b, 3600) for b in hours] + [(b, 60) for b in minutes]:
        inside = [v for s, v in zip(seconds, values, strict=True) if bucket.at <= s < bucket.at + width]
        assert bucket.values == len(inside)
        assert (bucket.min, bucket.max) == (min(inside), max(inside))
        assert bucket.p50 == pytest.approx(np.quantile(inside, 0.5))
        assert bucket.p95 == pytest.approx(np.quantile(inside, 0.95))
        assert bucket.mean == pytest.approx(np.mean(inside))
    assert sum(b.values for b in hours) == sum(b.values for b in minutes) == len(values)
    time.now += 3600
    assert store.roll_up() == 0


def test_a_transaction_that_fails_leaves_neither_points_nor_position(store: Store) -> None:
    store.add([columns([NOW - 5], [1])], 7)
    broken = columns([NOW - 4, NOW - DAY], [1, 2])
    broken.values = broken.values[:1]
    with pytest.raises(Exception, match=r".+"):
        store.add([broken], 8)
    assert store.position() == 7
    store.add([columns([NOW - 4], [2])], 8)
    reader = store.reader()
    assert [b.p50 for b in reader.series(1, NOW - 10, NOW, 1)] == [1, 2]
    reader.close()


def test_what_is_past_its_retention_goes_and_the_coarser_stays(store: Store, time: Time) -> None:
    store.add([columns([NOW - 60], [5])], 1)
    time.now += 3600
    store.roll_up()
    time.now += 4 * DAY
    gone = store.drop_old()
    assert [name[:7] for name in gone] == ["points_"]
    reader = store.reader()
    assert [b.p50 for b in reader.series(1, NOW - 3600, int(time.now), 60)] == [5]
    reader.close()
    time.now += 10 * DAY
    assert [name[:8] for name in store.drop_old()] == ["minutes_"]


def test_points_from_another_age_are_counted_and_make_no_tables(store: Store) -> None:
    store.add([columns([0, 5_000_000_000, NOW], [1, 1, 1])], 1)
    assert store.out_of_range == 2


def test_a_second_run_goes_on_where_the_first_stopped(tmp_path: Path, time: Time) -> None:
    path = tmp_path / "again.duckdb"
    first = Store(path, Settings(), clock=time)
    first.add([columns([NOW - 5], [1])], 41)
    first.close()
    second = Store(path, Settings(), clock=time)
    assert second.position() == 41
    second.close()


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.duckdb"
    path.write_text("not a database, but long enough to be taken for one by nobody" * 100)
    with pytest.raises(StoreError, match=str(path)):
        Store(path, Settings())

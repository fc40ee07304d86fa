"""Shifts: a level that moves is found, dated, and found the same however the stream is cut, delayed or interrupted."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.catalogue import Series, Signal
from collector.detect.shifts import Shift, Shifts

DATA = Path(__file__).parents[1] / "data" / "rtt_changes"
EVERY = 240 * 10**9


def signals(count: int, metric: str = "rtt_median_seconds") -> list[Signal]:
    return [Signal(i, i, Series("1", "n", "icmp_echo", str(i)), metric) for i in range(count)]


def watching(count: int = 1, metric: str = "rtt_median_seconds") -> Shifts:
    shifts = Shifts()
    shifts.extend(signals(count, metric))
    return shifts


def feed(shifts: Shifts, values: list[float], *, first: int = 1, size: int = 1, sent_at: int = 1 << 60) -> list[Shift]:
    found = []
    for start in range(0, len(values), size):
        batch = np.array(values[start : start + size])
        at = (np.arange(len(batch)) + start + first) * EVERY
        found += shifts.step(np.zeros(len(batch), dtype=np.int64), at, batch, at, sent_at)
    return found


def line(level: float, count: int, seed: int = 1) -> list[float]:
    return (level + np.random.default_rng(seed).normal(0, 1e-4, count)).tolist()


def test_a_level_that_moves_is_found_at_its_fifth_value_and_dated_from_its_first() -> None:
    (shift,) = feed(watching(), line(0.020, 60) + line(0.026, 30, seed=2))
    assert shift.began_at == 61 * EVERY
    assert shift.known_at - shift.began_at <= 4 * EVERY
    assert (shift.before, shift.after) == (pytest.approx(0.020, abs=2e-4), pytest.approx(0.026, abs=2e-4))


def test_there_and_back_are_two_shifts() -> None:
    found = feed(watching(), line(0.020, 60) + line(0.030, 8) + line(0.020, 60))
    assert [shift.began_at // EVERY for shift in found] == [61, 69]


def test_one_wild_value_is_no_shift() -> None:
    values = line(0.020, 200)
    for place in (50, 90, 130, 133):
        values[place] = 0.3
    assert feed(watching(), values) == []


def test_noise_that_ends_is_a_shift_too() -> None:
    noisy = (0.020 + np.abs(np.random.default_rng(3).normal(0, 0.02, 60))).tolist()
    (shift,) = feed(watching(), noisy + line(0.020, 30))
    assert shift.began_at == 61 * EVERY


def test_what_is_too_small_to_matter_is_none() -> None:
    assert feed(watching(), line(0.020, 60) + line(0.0203, 60)) == []


def test_a_path_that_loses_everything_shifts_its_loss() -> None:
    found = feed(watching(metric="loss_ratio"), [0.0] * 40 + [1.0] * 10 + [0.0] * 20)
    assert [(s.began_at // EVERY, s.before, s.after) for s in found] == [(41, 0, 1), (51, 1, 0)]


def test_one_metric_speaks_for_a_series() -> None:
    shifts, series = Shifts(), Series("1", "n", "icmp_echo", "t")
    shifts.extend([Signal(i, 0, series, m) for i, m in enumerate(["rtt_min_seconds", "rtt_max_seconds"])])
    assert shifts.rows.rows_of(np.array([0, 1])).tolist() == [0, -1]
    shifts.extend([Signal(2, 0, series, "rtt_median_seconds")])
    assert shifts.rows.rows_of(np.array([0, 1, 2])).tolist() == [-1, -1, 1]


def test_a_value_that_is_none_is_passed_over() -> None:
    with_losses = line(0.020, 60)
    with_losses[10:40:3] = [-3.0] * 10
    assert feed(watching(), with_losses) == []


def trace() -> list[float]:
    with gzip.open(DATA / "13746.csv.gz", "rt", encoding="utf-8") as file:
        return [float(row.split(";")[0] or -3000) / 1000 for row in list(file)[1:]][:200]


@settings(max_examples=8, deadline=None)  # a machine under load is no reason to fail
@given(st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_however_the_stream_is_cut_the_same_is_found(sizes: list[int]) -> None:
    values = trace()
    whole = feed(watching(), values)
    assert len(whole) > 2
    shifts, found, place = watching(), [], 0
    while place < len(values):
        size = sizes[place % len(sizes)]
        found += feed(shifts, values[place : place + size], first=place + 1, size=size)
        place += size
    assert [s._replace(known_at=0) for s in found] == [s._replace(known_at=0) for s in whole]


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 199), st.booleans())
def test_a_restart_anywhere_finds_the_same(place: int, again: bool) -> None:  # noqa: FBT001  (hypothesis gives it)
    values = trace()
    whole = feed(watching(), values)
    first = watching()
    found = feed(first, values[:place])
    second = watching()
    second.load({name: column.copy() for name, column in first.save().items()})
    repeated = max(0, place - 5) if again else place  # what was sent again is passed over
    found += feed(second, values[repeated:], first=repeated + 1)
    assert found == whole


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(40)))
def test_values_shuffled_within_a_batch_and_given_twice_find_the_same(order: list[int]) -> None:
    values = line(0.020, 20) + line(0.030, 20)
    at = (np.arange(40) + 1) * EVERY
    places = np.array([*order, *order[:7]])
    found = watching().step(np.zeros(47, dtype=np.int64), at[places], np.array(values)[places], at[places], 99 * EVERY)
    assert [shift._replace(known_at=0) for shift in found] == [s._replace(known_at=0) for s in feed(watching(), values)]


def test_many_signals_at_once_are_as_each_alone() -> None:
    values = np.array([trace()[start : start + 150] for start in range(0, 50, 5)])
    together = watching(10)
    found = []
    for number in range(150):
        at = np.full(10, (number + 1) * EVERY)
        found += together.step(np.arange(10), at, values[:, number], at, int(at[0]))
    for signal in range(10):
        alone = feed(watching(), values[signal].tolist())
        assert [s._replace(signal=0) for s in found if s.signal == signal] == alone


def test_a_clock_put_right_does_not_silence_the_detector() -> None:
    shifts = watching()
    feed(shifts, line(0.020, 60), first=1_000)
    found = feed(shifts, line(0.020, 40) + line(0.030, 10), first=1, sent_at=100 * EVERY)
    assert [shift.began_at // EVERY for shift in found] == [41]

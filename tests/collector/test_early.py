"""Early warning: what is unusual, what fills up, what flaps, and which of several symptoms speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.catalogue import Series, Signal
from collector.detect.baseline import Baselines
from collector.detect.early import EarlyWarning
from collector.detect.flapping import MOST, Flapping
from collector.detect.levels import GREEN, RED, UNKNOWN, LevelChanged
from collector.detect.trends import SLOT_SECONDS, Trends, days_left
from collector.detect.warned import Warned, words

if TYPE_CHECKING:
    from collections.abc import Sequence

NS = 1_000_000_000
HOUR = 3600 * NS
START = 1_767_225_600 * NS  # Thursday, 1 January 2026, 07:00 in Vietnam
LATER = 1 << 62


def signal(metric: str, number: int = 0, series: int = 0, check: str = "icmp_echo") -> Signal:
    return Signal(number, series, Series("1", "n", check, "t"), metric)


def baselines(metric: str = "rtt_median_seconds") -> Baselines:
    found = Baselines()
    found.extend([signal(metric)])
    return found


def feed(
    detector: Baselines, values: Sequence[float], *, first: int = 0, every: int = HOUR, red: bool = False, size: int = 1
) -> list[Warned]:
    level, warned = np.array([RED if red else GREEN]), []
    for start in range(0, len(values), size):
        batch = np.array(values[start : start + size])
        at = START + (np.arange(len(batch)) + start + first) * every
        warned += detector.step(np.zeros(len(batch), dtype=np.int64), at, batch, at, LATER, level)
    return warned


def days(count: int, seed: int = 5) -> list[float]:
    """Hours of a line whose round trip follows the working day."""
    chance = np.random.default_rng(seed)
    hours = np.arange(24 * count)
    busy = ((hours + 7) % 24 >= 8) & ((hours + 7) % 24 < 17)
    return (0.010 * (1 + 0.8 * busy) * (1 + 0.05 * np.abs(chance.normal(size=len(hours))))).tolist()


def test_the_rhythm_of_the_day_is_nothing_unusual() -> None:
    assert feed(baselines(), days(20)) == []


def test_a_jump_is_told_at_once_and_its_end_after_two_quiet_blocks() -> None:
    usual = days(10)
    found = feed(baselines(), [*usual, 0.200, 0.210, *days(1)])
    assert [(one.now, (one.at - START) // HOUR) for one in found] == [(True, 240), (False, 243)]
    assert found[0].value == pytest.approx(0.200)
    assert 0.008 < found[0].usual < 0.02


def test_a_drift_is_told_when_it_lasts_and_dated_from_where_it_began() -> None:
    usual = days(10)
    found = feed(baselines(), [*usual, 0.022, *[0.045] * 6])
    (warned,) = found
    assert ((warned.began_at - START) // HOUR, (warned.at - START) // HOUR) == (240, 243)


def test_an_answer_in_no_time_was_given_by_somebody_else() -> None:
    found = feed(baselines("total_seconds"), [*days(10), 0.0])
    assert [(one.now, one.value) for one in found] == [(True, 0.0)]


def test_a_signal_that_often_jumps_is_not_worth_a_word_each_time() -> None:
    values = days(14)
    values[::8] = [0.080] * len(values[::8])
    assert feed(baselines(), [*values, 0.080]) == []


def test_what_does_not_matter_is_not_told() -> None:
    lan = (0.0002 * (1 + 0.05 * np.random.default_rng(2).random(240))).tolist()
    assert feed(baselines(), [*lan, 0.0015, 0.0015, 0.0015, 0.0015, 0.0015]) == []


def test_an_outage_is_no_habit() -> None:
    detector = baselines()
    feed(detector, days(8))
    feed(detector, [0.5] * 300, first=192, red=True)
    assert np.exp(detector.rows.state["centre"][0]) < 0.02


def test_ten_second_values_are_taken_together_and_a_blip_is_none() -> None:
    chance, detector = np.random.default_rng(4), baselines()
    feed(detector, days(8))
    ten = (0.0105 * (1 + 0.05 * np.abs(chance.normal(size=1500)))).tolist()
    ten[700] = 1.5
    assert feed(detector, ten, first=8 * 24 * 360, every=10 * NS) == []
    slow = feed(detector, [0.100] * 120, first=8 * 24 * 360 + 1500, every=10 * NS)
    assert [one.now for one in slow] == [True]
    assert slow[0].at - (START + (8 * 24 * 360 + 1500) * 10 * NS) <= 900 * NS


def test_a_rate_that_falls_is_unusual_and_one_that_rises_is_not() -> None:
    chance = np.random.default_rng(1)
    nights = (180e6 * (1 + 0.02 * chance.normal(size=20))).tolist()
    falling = baselines("capacity_down_bits_per_second")
    assert [one.now for one in feed(falling, [*nights, *[60e6] * 5], every=24 * HOUR)] == [True]
    rising = baselines("capacity_down_bits_per_second")
    assert feed(rising, [*nights, *[900e6] * 5], every=24 * HOUR) == []


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 259), st.lists(st.integers(1, 40), min_size=1, max_size=9))
def test_restarts_repeats_and_cuts_change_nothing(place: int, sizes: list[int]) -> None:
    values = [*days(10), 0.2, 0.2, *days(1)[:18]]
    whole = feed(baselines(), values)
    assert len(whole) == 2
    detector, found, at = baselines(), [], 0
    while at < len(values):
        size = min(sizes[at % len(sizes)], place - at if at < place else len(values))
        found += feed(detector, values[at : at + size], first=at, size=size)
        at += size
        if at == place:
            again = baselines()
            again.load({name: column.copy() for name, column in detector.save().items()})
            detector = again
            found += feed(detector, values[max(0, at - 3) : at], first=max(0, at - 3))
    assert found == whole


def test_a_signal_that_is_measured_no_more_warns_no_more() -> None:
    detector = baselines()
    feed(detector, [*days(10), 0.2])
    newest = np.array([START + 250 * HOUR])
    (over,) = detector.expire(newest, 300 * NS, int(newest[0]))
    assert not over.now
    assert detector.expire(newest, 300 * NS, int(newest[0])) == []


def fill(trends: Trends, values: Sequence[float]) -> list[Warned]:
    found = []
    for place, value in enumerate(values):
        at = np.array([START + place * SLOT_SECONDS * NS])
        found += trends.step(np.zeros(1, dtype=np.int64), at, np.array([value]), at, LATER)
    return found


def test_a_disk_that_fills_is_told_a_week_before_it_is_full() -> None:
    trends = Trends()
    trends.extend([signal("disk_used_ratio[/var]", check="host_health")])
    values = (0.50 + 0.0025 * np.arange(180)).tolist()  # 1 % a day
    first, *rest = fill(trends, values)
    assert first.now
    assert first.usual == pytest.approx(7, abs=0.3)
    assert first.value == pytest.approx(0.95 - 0.07, abs=0.004)
    assert rest == []
    assert words(first, "disk_used_ratio[/var]")["en"] == "disk_used_ratio[/var] 88 %: full in 7 days at this pace"


def test_a_log_that_is_rotated_and_a_disk_that_rests_fill_nothing() -> None:
    trends = Trends()
    trends.extend([signal("disk_used_ratio[/]", check="host_health")])
    saw = [0.7 + 0.02 * (place % 4) for place in range(80)]
    assert fill(trends, saw) == []
    assert days_left(np.full(56, 0.8), 100, 0.8, 0.95) == np.inf


def change(at: int, was: int, now: int) -> LevelChanged:
    return LevelChanged(7, was, now, 1.0, at, at, at)


def test_a_signal_that_comes_and_goes_is_told_once_and_over_after_half_an_hour() -> None:
    flapping = Flapping()
    changes = [change(START + n * 60 * NS, *((GREEN, RED) if n % 2 == 0 else (RED, GREEN))) for n in range(20)]
    found = [one for each in changes for one in flapping.step([each])]
    assert [(one.now, one.usual) for one in found] == [(True, MOST)]
    saved = Flapping()
    saved.load(flapping.save())
    end = changes[-1].at + 1800 * NS
    assert saved.tick(end - 1) == []
    assert [(one.now, one.at) for one in saved.tick(end + 120 * NS)] == [(False, end)]


def test_unknown_and_back_is_no_flapping() -> None:
    flapping = Flapping()
    assert flapping.step([change(START + n, UNKNOWN, GREEN) for n in range(50)]) == []


def test_latency_waits_while_packets_are_lost_and_speaks_when_that_is_over() -> None:
    early = EarlyWarning()
    early.extend([signal("loss_ratio", 0), signal("rtt_median_seconds", 1)])
    level = np.array([GREEN, GREEN])

    def hour(number: int, rtt: float) -> list[Warned]:
        at = np.full(2, START + number * HOUR)
        return early.step(np.array([0, 1]), at, np.array([0.0, rtt]), at, LATER, level)[1]

    for number, rtt in enumerate(days(10)):
        assert hour(number, rtt) == []
    level[0] = RED
    assert hour(240, 0.2) == []
    assert hour(241, 0.2) == []
    level[0] = GREEN
    (warned,) = hour(242, 0.2)
    assert (warned.signal, warned.now, (warned.at - START) // HOUR) == (1, True, 240)
    assert warned.known_at == START + 242 * HOUR
    assert words(warned, "rtt_median_seconds")["en"].startswith("rtt_median_seconds 200 ms, usually 1")
    assert "thường là" in words(warned, "rtt_median_seconds")["vi"]


def test_what_is_measured_rarely_shifts_when_it_leaves_its_baseline() -> None:
    early = EarlyWarning()
    early.extend([signal("total_seconds", check="http_get")])
    shifts = []
    for number, value in enumerate([*days(10), 0.3]):
        at = np.array([START + number * HOUR])
        shifts += early.step(np.zeros(1, dtype=np.int64), at, np.array([value]), at, LATER, np.array([GREEN]))[0]
    assert [(shift.began_at - START) // HOUR for shift in shifts] == [240]

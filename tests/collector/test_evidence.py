"""Loss by the packet: a train says little, some hundred packets say enough, and a restart forgets none of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.limits import Level, Limit, load_limits
from collector.catalogue import Series, Signal
from collector.config import Config, Site
from collector.detect.evidence import ASSUMED_PACKETS, packets_of
from collector.detect.levels import GREEN, LEVELS, Levels

NS = 1_000_000_000
SECOND, TEN = NS, 10 * NS


def path(site: str = "1", number: int = 0) -> list[Signal]:
    series = Series(site, "n", "icmp_echo", "t")
    names = ("loss_ratio", "packets_sent")
    return [Signal(2 * number + i, number, series, name) for i, name in enumerate(names)]


def watching(limits: list[Limit] | None = None) -> Levels:
    levels = Levels(load_limits() if limits is None else limits)
    levels.extend(path())
    return levels


def feed(levels: Levels, lost: list[int], packets: int = 5, *, first: int = 1, every: int = TEN) -> list[str]:
    found = []
    for place, count in enumerate(lost, first):
        at = np.full(2, place * every)
        values = np.array([count / packets, packets], dtype=float)
        changes = levels.step(np.array([0, 1]), at, values, at, int(at[0]))
        found += [f"{place}: {LEVELS[change.now]}" for change in changes]
    return found


def test_one_packet_of_five_is_no_loss_of_twenty_per_cent() -> None:
    lost = np.random.default_rng(2).binomial(5, 0.02, 20_000).tolist()
    assert feed(watching(), lost) == ["1: green"]


def test_five_per_cent_of_a_clean_path_are_told_after_some_hundred_packets() -> None:
    levels, chance = watching(), np.random.default_rng(3)
    feed(levels, [0] * 300, packets=20)
    told = feed(levels, chance.binomial(20, 0.05, 60).tolist(), packets=20, first=301)
    assert told[0].endswith("yellow")
    assert 20 * (int(told[0].split(":")[0]) - 300) <= 500


def test_two_trains_lost_at_once_are_red_but_far_apart_it_takes_three() -> None:
    assert feed(watching(), [0, 0, 5, 5], every=2 * SECOND) == ["1: green", "4: red"]
    assert feed(watching(), [0, 0, 5, 5, 0, 0, 0])[1:] == []
    assert feed(watching(), [0, 0, 5, 5, 5])[1:] == ["5: red"]


def test_a_verdict_is_dated_from_the_first_train_that_led_to_it() -> None:
    levels = watching()
    feed(levels, [0, 0, 5, 5])
    at = np.full(2, 5 * TEN)
    (change,) = levels.step(np.array([0, 1]), at, np.array([1.0, 5.0]), at, int(at[0]))
    assert change.began_at == 3 * TEN


def test_red_is_over_after_two_clean_trains() -> None:
    told = feed(watching(), [0, 5, 5, 5, 0, 0, *[0] * 40])
    assert told[:3] == ["1: green", "4: red", "6: yellow"]
    assert told[3].endswith("green")


def test_a_train_that_does_not_say_how_long_it_was_is_taken_for_five() -> None:
    levels = Levels(load_limits())
    levels.extend(path()[:1])
    found = []
    for place, value in enumerate([0.0, 1.0, 1.0, 1.0], 1):
        at = np.array([place * 2 * SECOND])
        found += levels.step(np.array([0]), at, np.array([value]), at, int(at[0]))
    assert [LEVELS[change.now] for change in found] == ["green", "red"]


def test_packets_are_found_in_any_order() -> None:
    wanted, at = np.array([3, 5, 3]), np.array([10, 10, 20])
    found = packets_of(wanted, at, np.array([5, 3]), np.array([10, 20]), np.array([7.0, 9.0]))
    assert found.tolist() == [ASSUMED_PACKETS, 7.0, 9.0]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=60), st.data())
def test_however_it_is_cut_shuffled_repeated_and_restarted(lost: list[int], data: st.DataObject) -> None:
    alone = watching()
    whole = feed(alone, lost)
    levels, told, place = watching(), [], 0
    while place < len(lost):
        size = data.draw(st.integers(1, 8))
        batch = list(enumerate(lost[place : place + size], place + 1))
        rows = [(0, at * TEN, count / 5) for at, count in batch] + [(1, at * TEN, 5.0) for at, _ in batch]
        rows = data.draw(st.permutations([*rows, rows[0]]))
        signals, at, values = (np.array(column) for column in zip(*rows, strict=True))
        changes = levels.step(signals, at, values.astype(float), at, 1 << 62)
        told += [f"{change.at // TEN}: {LEVELS[change.now]}" for change in changes]
        place += size
        again = watching()
        again.load({name: column.copy() for name, column in levels.save().items()})
        levels = again
    assert told == whole
    assert levels.level[0] == alone.level[0]


def test_a_limit_for_a_site_or_a_service_goes_before_the_one_for_all() -> None:
    limits = [
        Limit(check="icmp_echo", metric="rtt_median_seconds", red=Level(0.4, 0.3), k=1, n=1),
        Limit(check="icmp_echo", metric="rtt_median_seconds", red=Level(0.9, 0.8), k=1, n=1, sites=["island"]),
        Limit(check="icmp_echo", metric="rtt_median_seconds", red=Level(0.2, 0.1), k=1, n=1, service="portal"),
    ]
    levels = Levels(limits, lambda series: "portal" if series.target == "p" else "")
    places = [("1", "t"), ("island", "t"), ("1", "p"), ("island", "p")]
    series = [Series(site, "n", "icmp_echo", target) for site, target in places]
    levels.extend([Signal(i, i, one, "rtt_median_seconds") for i, one in enumerate(series)])
    assert levels.limit_of[:4].tolist() == [1, 2, 3, 2]
    at = np.full(4, TEN)
    changes = levels.step(np.arange(4), at, np.full(4, 0.5), at, TEN)
    assert {change.signal: LEVELS[change.now] for change in changes} == {0: "red", 1: "green", 2: "red", 3: "green"}
    assert levels.level[1] == GREEN


def test_packets_of_what_is_no_share_are_refused() -> None:
    with pytest.raises(ValueError, match="packets are what a share above its limit is counted in"):
        Limit(check="c", metric="mos", above=False, red=Level(3, 3.2), packets="packets_sent")


def test_a_site_has_its_own_limits_beside_those_for_all() -> None:
    own = Limit(check="icmp_echo", metric="rtt_median_seconds", red=Level(0.9, 0.8), k=1, n=1)
    config = Config(sites=[Site(site="island", name="Thổ Châu", limits=[own])])
    levels = Levels(config.all_limits())
    series = [Series(site, "n", "icmp_echo", "t") for site in ("island", "1")]
    levels.extend([Signal(i, i, one, "rtt_median_seconds") for i, one in enumerate(series)])
    bounds = [levels.limits[row].red.enter for row in levels.limit_of[:2]]
    assert bounds == [0.9, 0.4]

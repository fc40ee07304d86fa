"""What a line does to frames, told by the pure step alone: any settings, any times, no network."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.impairment import Direction, Impairment

GAPS = st.lists(st.floats(0, 0.05), min_size=1, max_size=60)
SEEDS = st.integers(0, 2**32)
DELAYS = st.floats(0, 0.2)


def departures(
    impairment: Impairment, gaps: list[float], seed: int, frame_bytes: int = 100
) -> list[tuple[int, float, float, bool]]:
    direction, now = Direction(impairment, random.Random(seed)), 0.0
    found: list[tuple[int, float, float, bool]] = []
    for number, gap in enumerate(gaps):
        now += gap
        found += [(number, now, due_at, damaged) for due_at, damaged in direction.take(now, frame_bytes)]
    return found


@given(GAPS, SEEDS, DELAYS, DELAYS)
def test_a_line_that_only_delays_loses_nothing_keeps_the_order_and_is_never_early(
    gaps: list[float], seed: int, delay: float, jitter: float
) -> None:
    found = departures(Impairment(delay_seconds=delay, jitter_seconds=jitter), gaps, seed)
    assert [number for number, *_ in found] == list(range(len(gaps)))
    dues = [due_at for _, _, due_at, _ in found]
    assert dues == sorted(dues)
    assert all(due_at >= now + delay for _, now, due_at, _ in found)
    assert not any(damaged for *_, damaged in found)


@given(GAPS, SEEDS, DELAYS, st.floats(0, 0.02))
def test_jitter_is_never_more_than_was_said(gaps: list[float], seed: int, delay: float, jitter: float) -> None:
    last = -1.0
    for _, now, due_at, _ in departures(Impairment(delay_seconds=delay, jitter_seconds=jitter), gaps, seed):
        assert due_at <= max(last, now + delay + jitter) + 1e-9
        last = due_at


@given(GAPS, SEEDS, st.floats(1e5, 1e9))
def test_frames_leave_a_limited_line_no_faster_than_its_rate_and_wait_no_longer_than_its_queue(
    gaps: list[float], seed: int, rate: float
) -> None:
    limited = Impairment(rate_bits_per_second=rate, queue_seconds=0.1)
    found = departures(limited, gaps, seed)
    for (_, _, before, _), (_, _, after, _) in pairwise(found):
        assert after - before >= 800 / rate - 1e-9
    assert all(due_at - now <= 0.1 + 800 / rate + 1e-9 for _, now, due_at, _ in found)
    assert found, "the first frame finds an empty queue"


@given(GAPS, SEEDS)
def test_a_line_that_is_cut_passes_nothing_and_one_without_loss_everything(gaps: list[float], seed: int) -> None:
    assert departures(Impairment(cut=True, delay_seconds=0.01), gaps, seed) == []
    assert departures(Impairment(loss_ratio=1.0), gaps, seed) == []
    assert len(departures(Impairment(duplicate_ratio=1.0), gaps, seed)) == 2 * len(gaps)


@pytest.mark.parametrize("burst", [1.0, 4.0])
def test_the_share_of_loss_is_as_said_whether_packets_are_lost_alone_or_in_bursts(burst: float) -> None:
    found = departures(Impairment(loss_ratio=0.1, loss_burst=burst), [0.001] * 40_000, 7)
    assert 0.09 < 1 - len(found) / 40_000 < 0.11
    came = {number for number, *_ in found}
    ends = sum(1 for number in range(40_000) if number not in came and number + 1 in came)
    assert (40_000 - len(found)) / ends == pytest.approx(burst, rel=0.15)


def test_a_reordered_frame_is_overtaken_by_those_behind_it() -> None:
    found = departures(Impairment(delay_seconds=0.005, reorder_ratio=0.05), [0.001] * 5_000, 3)
    arrived = [number for number, _, due_at, _ in sorted(found, key=lambda each: (each[2], each[0]))]
    late, highest = 0, -1
    for number in arrived:
        late += number < highest
        highest = max(highest, number)
    assert 0.03 < late / 5_000 < 0.07


def test_only_packets_longer_than_a_black_hole_vanish() -> None:
    hole = Impairment(mtu=1400)
    assert departures(hole, [0.0], 1, frame_bytes=1414)
    assert not departures(hole, [0.0], 1, frame_bytes=1415)


def test_frames_on_their_way_arrive_as_they_would_have_and_new_ones_do_not_overtake_them() -> None:
    direction = Direction(Impairment(delay_seconds=1.0), random.Random(1))
    ((slow, _),) = direction.take(0.0, 100)
    direction.become(Impairment())
    ((fast, _),) = direction.take(0.1, 100)
    assert slow == 1.0
    assert fast >= slow

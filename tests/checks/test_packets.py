"""What becomes of the packets of a train, told instant by instant."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.packets import (
    SECOND,
    Answer,
    Packet,
    Packets,
    delay_figures,
    interarrival_jitter,
    median,
    percentile,
    variations,
)
from checks.timestamps import BOTH, RECEIVE, USER

MILLI = 1_000_000
WALL = 1_800_000_000 * SECOND


def train(count: int, *, tmax_seconds: float = 1.0, source: int = RECEIVE) -> Packets:
    """Send `count` packets, one every 100 ms of a wall clock that is far from the monotonic one."""
    packets = Packets(tmax_seconds)
    for sequence in range(count):
        packets.sent(sequence, Packet(WALL + sequence * 100 * MILLI, sequence * 100 * MILLI, 0, source))
    return packets


def answer(sequence: int, after_ms: float, *, wall_step_ms: float = 0, by_kernel: bool = True) -> Answer:
    here = sequence * 100 * MILLI + round(after_ms * MILLI)
    return Answer(sequence, WALL + here + round(wall_step_ms * MILLI), here, by_kernel)


def test_what_comes_back_in_time_has_its_round_trip_in_the_order_sent() -> None:
    packets = train(3)
    assert packets.note(answer(2, 30), 0)
    assert packets.note(answer(0, 250), 0)
    assert packets.round_trips() == [0.25, None, 0.03]


def test_a_late_answer_settles_its_packet_and_is_counted_but_stays_a_loss() -> None:
    packets = train(2, tmax_seconds=0.5)
    packets.note(answer(0, 500), 0)
    assert packets.note(answer(1, 500.001), 0), "nobody need wait for it any longer"
    assert packets.round_trips() == [0.5, None]
    assert packets.take_counts()["packets_late"] == 1
    assert packets.take_counts()["packets_late"] == 0, "counts are since they were last asked"


def test_a_second_answer_is_a_duplicate_and_changes_nothing() -> None:
    packets = train(1)
    packets.note(answer(0, 20), 0)
    assert not packets.note(answer(0, 90), 0)
    assert packets.round_trips() == [0.02]
    assert packets.take_counts()["packets_duplicate"] == 1


def test_reordering_is_that_of_rfc_4737() -> None:
    """4737, 3.3: reordered is what comes with a number below the next expected; a gap alone is not."""
    packets = train(10)
    for sequence in (0, 1, 2, 4, 5, 3, 6, 9, 7, 8):
        packets.note(answer(sequence, 950), 0)
    assert packets.take_counts()["packets_reordered"] == 3, "3, 7 and 8 came after later ones"


def test_a_duplicate_is_not_reordered_too() -> None:
    packets = train(3)
    for sequence in (0, 1, 2, 0, 1):
        packets.note(answer(sequence, 300), 0)
    counts = packets.take_counts()
    assert (counts["packets_duplicate"], counts["packets_reordered"]) == (2, 0)


def test_a_corrupted_answer_is_counted_and_its_packet_may_still_come_back() -> None:
    packets = train(2)
    assert not packets.note(Answer(0, corrupted=True), 0)
    assert not packets.note(Answer(1, corrupted=True), 0)
    packets.note(answer(1, 10), 0)
    assert packets.round_trips() == [None, 0.01]
    assert packets.take_counts()["packets_corrupted"] == 2


def test_what_was_never_sent_is_nobodys() -> None:
    packets = train(1)
    assert not packets.note(answer(7, 1), 0)
    assert not packets.note(Answer(7, refusal="host unreachable"), 0)
    assert packets.refusal is None
    assert packets.round_trips() == [None]


def test_a_refusal_settles_its_packet_and_is_remembered_in_words() -> None:
    packets = train(2)
    assert packets.note(Answer(0, refusal="port unreachable, says 10.0.0.1"), 0)
    assert packets.refusal == "port unreachable, says 10.0.0.1"
    assert packets.round_trips() == [None, None]


@pytest.mark.parametrize("step_ms", [-3_600_000, -40, 40, 3_600_000])
def test_a_clock_that_steps_in_the_middle_of_a_train_bends_nothing(step_ms: float) -> None:
    packets = train(3)
    packets.note(answer(0, 20), 0)
    packets.note(answer(1, 30, wall_step_ms=step_ms), 1)  # on its way while the clock was set
    packets.sent(3, Packet(WALL + (300 + int(step_ms)) * MILLI, 300 * MILLI, 1, RECEIVE))
    packets.note(answer(3, 40, wall_step_ms=step_ms), 1)  # sent and answered after it
    assert packets.round_trips() == [0.02, 0.03, None, 0.04]
    assert packets.take_counts()["packets_late"] == 0
    assert packets.source() == USER, "the bent packet is not of the kernel's clock"


def test_the_source_is_that_of_the_worst_packet_that_came_back() -> None:
    packets = train(3)
    assert packets.source() is None, "nothing came back"
    packets.note(Answer(0, left_at=WALL), 0)
    packets.note(answer(0, 20), 0)
    assert packets.source() == BOTH
    packets.note(answer(1, 20), 0)
    assert packets.source() == RECEIVE
    packets.note(answer(2, 20, by_kernel=False), 0)
    assert packets.source() == USER


def test_a_departure_told_after_the_answer_still_counts_but_does_not_better_a_clock_that_was_not_the_kernels() -> None:
    packets = train(2)
    packets.note(answer(0, 20), 0)
    packets.note(Answer(0, left_at=WALL + 5 * MILLI), 0)
    assert packets.round_trips()[0] == pytest.approx(0.015)
    assert packets.source() == BOTH
    packets.note(answer(1, 20, by_kernel=False), 0)
    packets.note(Answer(1, left_at=WALL + 101 * MILLI), 0)
    assert packets.source() == USER


def test_packets_long_gone_are_forgotten_in_order_and_no_further() -> None:
    packets = train(5)
    assert packets.forget_before(250 * MILLI, 2) == [0, 1]
    assert packets.forget_before(250 * MILLI, 5) == [2]
    assert not packets.note(answer(1, 300), 0), "nobody listens for it now"
    assert packets.round_trips() == [None, None]


def test_the_median_and_percentiles_of_rfc_2330() -> None:
    """RFC 2330, 11.3: -2, 7, 7, 4, 18, -5 have the 50th percentile 4 and a median of 5.5 (an even number)."""
    ordered = sorted([-2.0, 7, 7, 4, 18, -5])
    assert ordered == [-5, -2, 4, 7, 7, 18]
    assert median(ordered) == 5.5
    assert [percentile(ordered, each) for each in (1, 50, 100)] == [-5, 4, 18]
    assert percentile(ordered, 25) == -2, "its F(-2) is 0.333"


@pytest.mark.parametrize(("percent", "value"), [(5, 15), (30, 20), (40, 20), (50, 35), (100, 50)])
def test_the_nearest_rank_of_a_published_example(percent: int, value: float) -> None:
    assert percentile([15, 20, 35, 40, 50], percent) == value


def test_jitter_is_that_of_rfc_3550() -> None:
    """RFC 3550, 6.4.1: J += (|D| - J) / 16, by hand for three differences."""
    assert interarrival_jitter([]) == 0
    first = 16 / 16
    second = first + (32 - first) / 16
    third = second + (0 - second) / 16
    assert interarrival_jitter([16, -32, 0]) == pytest.approx(third)
    assert interarrival_jitter([0], interarrival_jitter([16, -32])) == pytest.approx(third), "it goes on"


def test_variation_is_between_neighbours_that_both_arrived() -> None:
    assert variations([1, 3, None, 10, 7]) == [2, -3]
    assert delay_figures([None, 0.02, None]) == {
        "rtt_min_seconds": 0.02, "rtt_median_seconds": 0.02, "rtt_mean_seconds": 0.02,
        "rtt_p95_seconds": 0.02, "rtt_max_seconds": 0.02,
    }  # fmt: skip
    assert delay_figures([]) == delay_figures([None]) == {}


@given(st.lists(st.none() | st.floats(0, 60), max_size=300))
def test_figures_of_any_train_are_in_order_and_within_what_was_seen(trips: list[float | None]) -> None:
    figures = delay_figures(trips)
    answered = [each for each in trips if each is not None]
    assert bool(figures) == bool(answered)
    if answered:
        order = [figures[f"rtt_{name}_seconds"] for name in ("min", "median", "p95", "max")]
        assert order[0] <= order[1] <= order[3]
        assert order[0] <= order[2] <= order[3]
        assert min(answered) <= figures["rtt_mean_seconds"] * (1 + 1e-12)
        assert figures["rtt_mean_seconds"] <= max(answered) * (1 + 1e-12)
        assert figures.get("ipdv_p95_seconds", 0) <= max(answered) - min(answered)


@given(st.lists(st.floats(-10, 10), max_size=200), st.floats(0, 10))
def test_jitter_stays_between_nothing_and_the_largest_difference(differences: list[float], before: float) -> None:
    jitter = interarrival_jitter(differences, before)
    assert 0 <= jitter <= max([before, *map(abs, differences)]) * (1 + 1e-12)
    assert math.isfinite(jitter)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 12), st.sampled_from(["back", "user", "corrupted", "refused", "left"]), st.integers(-50, 1500)
    ),
    max_size=60,
)


@given(EVENTS)
def test_whatever_comes_back_the_book_holds_together(events: list[tuple[int, str, int]]) -> None:
    packets = train(10)
    settled = 0
    for sequence, kind, after_ms in events:
        if kind in ("back", "user"):
            told = packets.note(answer(sequence, after_ms, by_kernel=kind == "back"), 0)
        elif kind == "left":
            told = packets.note(Answer(sequence, left_at=WALL + sequence * 100 * MILLI), 0)
        else:
            told = packets.note(
                Answer(sequence, corrupted=kind == "corrupted", refusal="no" if kind == "refused" else None), 0
            )
        settled += told and kind in ("back", "user")
    trips = packets.round_trips()
    assert len(trips) == 10
    assert all(trip is None or 0 <= trip <= 1 for trip in trips)
    counts = packets.take_counts()
    backs = [sequence for sequence, kind, _ in events if kind in ("back", "user") and sequence < 10]
    assert settled == len(set(backs))
    assert counts["packets_duplicate"] == len(backs) - len(set(backs))
    assert sum(trip is not None for trip in trips) + counts["packets_late"] == settled

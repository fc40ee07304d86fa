"""What a stretch of STAMP packets says of each direction, by packets whose every instant is known."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.stamp_figures import Attribution, Exchange, Jitter, figures, one_way

MILLI = 1_000_000
OFFSET = 300 * MILLI  # what the two clocks disagree by


def exchange(
    sequence: int,
    forward_ms: float,
    backward_ms: float,
    *,
    number: int | None = None,
    offset: int = OFFSET,
    **more: object,
) -> Exchange:
    """Return a packet that took so long in each direction, by two clocks that disagree by `offset` nanoseconds."""
    forward, backward = round(forward_ms * MILLI), round(backward_ms * MILLI)
    number = sequence if number is None else number
    return Exchange(sequence, number, forward + backward, forward + offset, backward - offset, **more)  # type: ignore[arg-type]


def lost(attribution: Attribution, *pairs: tuple[int, int]) -> dict[str, float]:
    for sequence, number in pairs:
        attribution.take(exchange(sequence, 1, 1, number=number))
    return attribution.figures()


# --- which direction lost what


def test_a_gap_in_the_reflectors_numbers_was_lost_on_the_way_back() -> None:
    found = lost(Attribution(), (0, 0), (1, 1), (4, 4))
    assert found == {"loss_forward_ratio": 0, "loss_backward_ratio": pytest.approx(2 / 5)}


def test_a_gap_in_ours_alone_was_lost_on_the_way_there() -> None:
    found = lost(Attribution(), (0, 0), (1, 1), (4, 2))
    assert found == {"loss_forward_ratio": pytest.approx(2 / 5), "loss_backward_ratio": 0}


def test_both_directions_lose_at_once_and_each_has_its_share() -> None:
    """Of 10 sent, 3 never reached the reflector and 2 of its 7 answers were lost."""
    found = lost(Attribution(), (0, 0), (9, 6))
    both = lost(Attribution(), (0, 0), (2, 1), (6, 4), (7, 5), (9, 6))
    assert found["loss_forward_ratio"] == both["loss_forward_ratio"] == pytest.approx(3 / 10)
    assert both["loss_backward_ratio"] == pytest.approx(2 / 7)


def test_what_was_lost_before_the_first_answer_is_told_too() -> None:
    assert lost(Attribution(), (3, 1)) == {"loss_forward_ratio": 0.5, "loss_backward_ratio": 0.5}


def test_what_was_lost_at_the_end_of_a_stretch_is_told_by_the_next_answer() -> None:
    attribution = Attribution()
    assert lost(attribution, (0, 0), (1, 1)) == {"loss_forward_ratio": 0, "loss_backward_ratio": 0}
    assert lost(attribution) == {}, "nothing came back: nothing is known"
    assert lost(attribution, (5, 3))["loss_forward_ratio"] == pytest.approx(2 / 4)


def test_a_reflector_that_began_anew_puts_no_loss_anywhere() -> None:
    attribution = Attribution()
    lost(attribution, (0, 0), (1, 1), (2, 2))
    assert lost(attribution, (9, 0)) == {}
    assert lost(attribution, (10, 1), (12, 2)) == {"loss_forward_ratio": pytest.approx(1 / 3), "loss_backward_ratio": 0}


def test_packets_that_overtook_each_other_are_no_loss() -> None:
    assert lost(Attribution(), (0, 0), (1, 2), (2, 1), (3, 3)) == {"loss_forward_ratio": 0, "loss_backward_ratio": 0}


@given(st.lists(st.sampled_from(["there", "back", "fine"]), max_size=200))
def test_every_loss_of_any_run_is_put_where_it_happened(fates: list[str]) -> None:
    attribution, number = Attribution(), 0
    forward = backward = forward_there = backward_there = 0
    for sequence, fate in enumerate(fates):
        forward += fate == "there"
        backward += fate == "back"
        if fate == "fine":
            attribution.take(exchange(sequence, 1, 1, number=number))
            forward_there, backward_there = forward, backward  # what comes after the last answer is not known yet
        number += fate != "there"
    assert (attribution.lost_forward, attribution.lost_backward) == (forward_there, backward_there)
    assert all(0 <= ratio <= 1 for ratio in attribution.figures().values())


# --- delay and its variation


def test_the_round_trip_and_the_variation_are_free_of_what_the_clocks_disagree_by() -> None:
    stretch = [exchange(0, 10, 20), exchange(1, 14, 20), None, exchange(3, 12, 26)]
    found, other = (
        figures(stretch),
        figures(
            [
                each
                and exchange(
                    each.sequence,
                    (each.forward_ns or 0) / MILLI - 300,
                    (each.backward_ns or 0) / MILLI + 300,
                    offset=-7_000 * MILLI,
                )
                for each in stretch
            ]
        ),
    )
    assert found == pytest.approx(other)
    assert found["rtt_min_seconds"] == pytest.approx(0.030)
    assert found["pdv_forward_p95_seconds"] == pytest.approx(0.004), "RFC 5481: above the fastest"
    assert found["pdv_backward_p95_seconds"] == pytest.approx(0.006)
    assert found["ipdv_forward_mean_seconds"] == pytest.approx(0.004), "of neighbours that both arrived"
    assert found["ipdv_backward_mean_seconds"] == 0
    assert found["loss_ratio"] == pytest.approx(0.25)


def test_what_has_no_value_is_absent() -> None:
    assert figures([]) == {}
    assert figures([None, None]) == {"loss_ratio": 1, "packets_sent": 2, "packets_received": 0}
    assert "ipdv_forward_mean_seconds" not in figures([exchange(0, 1, 1)])


def test_the_score_is_of_half_the_round_trip_and_the_loss() -> None:
    stretch: list[Exchange | None] = [exchange(each, 100, 200) for each in range(99)]
    assert figures([*stretch, None])["mos"] == pytest.approx(4.23, abs=0.005), "150 ms and 1 %"


def quiet(count: int, offset_of: dict[int, int] | None = None, **more: object) -> list[Exchange]:
    """Return packets of a line with 0.1 ms of jitter; the clocks' difference changes where `offset_of` says."""
    rng, offset, stretch = random.Random(7), OFFSET, []  # noqa: S311  (the same numbers each time)
    for sequence in range(count):
        offset = (offset_of or {}).get(sequence, offset)
        stretch.append(exchange(sequence, 5 + rng.random() / 10, 5 + rng.random() / 10, offset=offset, **more))
    return stretch


@pytest.mark.parametrize("step_ms", [-2_000, -20, 20, 2_000, 86_400_000])
def test_a_step_of_either_clock_does_not_become_jitter(step_ms: int) -> None:
    stretch = quiet(60, {30: OFFSET + step_ms * MILLI})
    found = {**figures(stretch), **Jitter().take(stretch)}
    for name in ("pdv_forward_p95", "pdv_backward_p95", "ipdv_forward_p95", "jitter_forward", "jitter_backward"):
        assert found[f"{name}_seconds"] < 0.0002, name
    assert found["rtt_max_seconds"] < 0.011


def test_a_step_of_our_own_is_known_however_small() -> None:
    stretch = [*quiet(10), *[exchange(each, 5, 5, offset=OFFSET + 1_500_000, steps=1) for each in range(10, 13)]]
    assert figures(stretch)["ipdv_forward_p95_seconds"] < 0.0002


@pytest.mark.parametrize("count", [20, 120])
@pytest.mark.parametrize("longest_ms", [30, 100])
def test_jitter_in_both_directions_however_large_is_not_taken_for_a_clock_that_was_set(
    count: int, longest_ms: int
) -> None:
    rng = random.Random(longest_ms + count)  # noqa: S311  (the same numbers each time)
    delays = [(5 + rng.expovariate(5 / longest_ms), 5 + rng.expovariate(5 / longest_ms)) for _ in range(count)]
    found = figures([exchange(each, *both) for each, both in enumerate(delays)])
    forward = sorted(each[0] for each in delays)
    at = -(-95 * count // 100) - 1
    assert found["pdv_forward_p95_seconds"] == pytest.approx((forward[at] - forward[0]) / 1000, abs=1e-8)


def test_a_packet_on_its_way_while_our_clock_was_set_came_back_but_says_nothing_of_time() -> None:
    bent = Exchange(1, 1, None, None, None)
    found = figures([exchange(0, 5, 5), bent, exchange(2, 5, 5, steps=1)])
    assert (found["loss_ratio"], found["packets_received"]) == (0, 3)
    assert found["rtt_max_seconds"] == pytest.approx(0.010)
    assert figures([bent]) == {"loss_ratio": 0, "packets_sent": 1, "packets_received": 1}
    assert one_way([bent], 1) == {}


def test_jitter_goes_on_from_stretch_to_stretch() -> None:
    rng = random.Random(1)  # noqa: S311  (the same numbers each time)
    packets = [exchange(each, 5 + rng.random(), 5 + rng.random()) for each in range(40)]
    whole, pieces = Jitter(), Jitter()
    at_once = whole.take(packets)
    assert pieces.take(packets[:1]) == {}, "one packet has no jitter"
    for cut in ((1, 2), (2, 9), (9, 9), (9, 40)):
        found = pieces.take(packets[slice(*cut)])
    assert found == pytest.approx(at_once)


def test_jitter_of_a_steady_change_is_a_sixteenth_nearer_each_time() -> None:
    found = Jitter().take([exchange(0, 5, 5), exchange(1, 21, 5)])
    assert found == {"jitter_forward_seconds": pytest.approx(0.001), "jitter_backward_seconds": 0}


# --- one-way delay


def test_one_way_delay_is_told_only_if_both_clocks_claim_to_be_good() -> None:
    good = [exchange(each, 10 + each, 30, offset=0, clock_error_seconds=0.0004 + each / 10_000) for each in range(3)]
    assert one_way(good, 0.001) == {
        "delay_forward_median_seconds": pytest.approx(0.011),
        "delay_backward_median_seconds": pytest.approx(0.030),
        "clock_error_seconds": pytest.approx(0.0006),
    }
    assert one_way(good, 0.0005) == {}, "one packet's clocks were not good enough"
    assert one_way([*good, exchange(3, 1, 1)], 0.001) == {}, "one of the clocks was not kept by anybody"
    assert one_way([], 0.001) == {}


def test_a_claim_that_cannot_be_true_is_not_believed() -> None:
    early = [exchange(0, 0.2, 0.2, offset=5 * MILLI, clock_error_seconds=0.0001)]
    assert one_way(early, 0.001) == {}, "it came back before it left"
    within = [exchange(0, 0.2, 0.2, offset=250_000, clock_error_seconds=0.0001)]
    assert one_way(within, 0.001)["delay_backward_median_seconds"] == pytest.approx(-0.00005), "within the error"


DELAYS = st.lists(
    st.none() | st.tuples(st.floats(0, 3000), st.floats(0, 3000), st.integers(-(10**18), 10**18)), max_size=60
)


@given(DELAYS)
def test_figures_of_anything_are_numbers_that_hold_together(delays: list[tuple[float, float, int] | None]) -> None:
    stretch = [each and exchange(at, each[0], each[1], offset=each[2]) for at, each in enumerate(delays)]
    found = figures(stretch)
    answered = [each for each in stretch if each is not None]
    assert found.get("packets_received", 0) == len(answered)
    for direction in ("forward", "backward"):
        assert found.get(f"pdv_{direction}_p95_seconds", 0) >= 0
    assert 1 <= found.get("mos", 1) <= 4.5
    jitter = Jitter().take(answered)
    assert all(value >= 0 for value in jitter.values())

"""The E-model: published values, and the ends of its scale."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.mos import mean_opinion_score, transmission_rating


@pytest.mark.parametrize(
    ("delay_seconds", "loss_ratio", "rating", "score"),
    [
        (0.0, 0.0, 93.2, 4.41),
        (0.15, 0.01, 86.0, 4.23),
        (0.3, 0.03, 62.4, 3.22),
        (0.1773, 0.0, 88.9, 4.31),
        (0.4, 0.0, 59.1, 3.05),
        (0.0, 1.0, 17.3, 1.18),
    ],
)
def test_values_of_g_107(delay_seconds: float, loss_ratio: float, rating: float, score: float) -> None:
    found = transmission_rating(delay_seconds, loss_ratio)
    assert found == pytest.approx(rating, abs=0.05)
    assert mean_opinion_score(found) == pytest.approx(score, abs=0.005)


# G.107, annex B, table B.1; it prints 4.03 where its own formula gives 4.024.
@pytest.mark.parametrize(("rating", "score"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)])
def test_the_table_of_annex_b(rating: float, score: float) -> None:
    assert mean_opinion_score(rating) == pytest.approx(score, abs=0.007)


@pytest.mark.parametrize(("rating", "score"), [(-500, 1), (0, 1), (1, 1), (6, 1), (100, 4.5), (120, 4.5)])
def test_the_scale_ends_at_1_and_4_and_a_half(rating: float, score: float) -> None:
    assert mean_opinion_score(rating) == score


def test_losses_in_bursts_are_worse_than_single_ones() -> None:
    assert transmission_rating(0.02, 0.02, burst_ratio=2) < transmission_rating(0.02, 0.02)


@given(st.floats(0, 5), st.floats(0, 1), st.floats(0, 5), st.floats(0, 1))
def test_more_delay_or_loss_never_sounds_better(delay: float, loss: float, more: float, worse: float) -> None:
    here = mean_opinion_score(transmission_rating(delay, loss))
    there = mean_opinion_score(transmission_rating(delay + more, max(loss, worse)))
    assert 1 <= there <= here <= 4.5

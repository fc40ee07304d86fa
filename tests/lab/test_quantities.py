"""What people type for a duration, a share, a rate."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from tests.lab import quantities

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("read", "text", "found"),
    [
        (quantities.duration, "100ms", 0.1),
        (quantities.duration, "1.5 s", 1.5),
        (quantities.duration, "50µs", 50e-6),
        (quantities.ratio, "5%", 0.05),
        (quantities.ratio, "0.05", 0.05),
        (quantities.rate, "20mbit", 20e6),
        (quantities.rate, "1.5Gbit", 1.5e9),
        (quantities.packet_bytes, "1400", 1400),
    ],
)
def test_a_quantity_is_read_in_its_base_unit(read: Callable[[str], float], text: str, found: float) -> None:
    assert read(text) == pytest.approx(found)


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (quantities.duration, "5", "'5' is not a duration such as 100ms or 1.5s"),
        (quantities.duration, "-5ms", "is not a duration"),
        (quantities.ratio, "105%", "is not between 0% and 100%"),
        (quantities.ratio, "five", "is not a share such as 5% or 0.05"),
        (quantities.rate, "0mbit", "use cut to let nothing pass"),
        (quantities.rate, "20", "is not a rate such as 20mbit"),
        (quantities.packet_bytes, "20", "from 68 to 9000"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_an_example(read: Callable[[str], float], text: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        read(text)
    assert words in str(refused.value)

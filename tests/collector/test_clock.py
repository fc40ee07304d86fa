"""The collector's own clock: it never goes back, never jumps, and leans towards the wall clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.clock import SteadyClock

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
START = 1_790_000_000 * SECOND


class Clocks:
    """A wall clock that somebody sets, and a monotonic one that nobody can."""

    def __init__(self) -> None:
        self.wall = START
        self.monotonic = 5 * SECOND
        self.steady = SteadyClock(lambda: self.wall, lambda: self.monotonic)

    def pass_by(self, nanoseconds: int) -> int:
        self.wall += nanoseconds
        self.monotonic += nanoseconds
        return self.steady.now()


def test_it_agrees_with_a_wall_clock_that_nobody_touches() -> None:
    clocks = Clocks()
    for _ in range(100):
        assert clocks.pass_by(SECOND // 4) == clocks.wall


@given(st.lists(st.tuples(st.integers(0, 10 * SECOND), st.integers(-2 * HOUR, 2 * HOUR)), max_size=60))
def test_whatever_the_wall_clock_does_time_passes_at_its_own_pace(steps: list[tuple[int, int]]) -> None:
    clocks = Clocks()
    before = clocks.steady.now()
    for passed, jump in steps:
        clocks.wall += jump
        now = clocks.pass_by(passed)
        assert now >= before
        assert abs((now - before) - passed) <= passed // 20
        before = now


def test_a_wall_clock_set_an_hour_ahead_or_back_is_met_within_a_day_and_never_overshot() -> None:
    for jump in (HOUR, -HOUR):
        clocks = Clocks()
        clocks.wall += jump
        apart = abs(jump)
        for _ in range(24 * 60):
            now = clocks.pass_by(60 * SECOND)
            assert abs(clocks.wall - now) <= apart
            assert (clocks.wall - now) * jump >= 0, "it went past the wall clock"
            apart = abs(clocks.wall - now)
        assert apart == 0


def test_a_step_of_the_wall_clock_makes_nobody_silent_at_once() -> None:
    clocks = Clocks()
    before = clocks.steady.now()
    clocks.wall += HOUR
    assert clocks.pass_by(SECOND) - before < 2 * SECOND

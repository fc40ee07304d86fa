"""A clock for arrivals that no step of the wall clock can bend."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SLEW = 20
"""At most one part in so many of the time that passes is used to come back to the wall clock."""


class SteadyClock:
    """Nanoseconds since the epoch that never jump: silence is judged by it.

    It runs with the monotonic clock and leans towards the wall clock by at most 5 %, so that a wall clock put right by
    an hour neither makes 103 sites silent at once nor keeps a dead one alive.
    """

    def __init__(
        self, wall: Callable[[], int] = time.time_ns, monotonic: Callable[[], int] = time.monotonic_ns
    ) -> None:
        """Begin at the wall clock's time."""
        self._wall = wall
        self._monotonic = monotonic
        self._last = wall()
        self._at = monotonic()

    def now(self) -> int:
        """Return the time; never less than before."""
        at = self._monotonic()
        passed, self._at = at - self._at, at
        lean = passed // _SLEW
        off = self._wall() - (self._last + passed)
        self._last += passed + max(-lean, min(lean, off))
        return self._last

"""One budget for the steps of a measurement, so that a step which takes too long is named and the others are kept.

`run` cancels a check at its deadline and then knows nothing but that. A check with phases therefore ends a little
earlier by itself, and says which phase was the slow one: "no TLS handshake within 5 s".
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NoReturn

from checks.check import Unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_EARLIER_RATIO = 0.1
_EARLIER_SECONDS = 0.25

spent_seconds: ContextVar[float] = ContextVar("spent_seconds", default=0.0)
"""What of the budget was gone before the check began: a child process takes its time to start."""


class Phases:
    """The phases of one measurement: what each took, and how much of the budget is left."""

    def __init__(self, timeout_seconds: float) -> None:
        """Start the budget now. It ends 0.25 s (or a tenth, if less) before `timeout_seconds`, `run`'s own deadline."""
        self.metrics: dict[str, float] = {}
        self.timeout_seconds = timeout_seconds
        self.began = time.perf_counter()
        margin = min(timeout_seconds * _EARLIER_RATIO, _EARLIER_SECONDS)
        self._deadline = asyncio.get_running_loop().time() + timeout_seconds - margin - spent_seconds.get()

    @property
    def left_seconds(self) -> float:
        """Seconds until the budget ends; never below 0."""
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    @asynccontextmanager
    async def phase(self, metric: str | None, missing: str, seconds: float | None = None) -> AsyncIterator[None]:
        """Add the time the block takes to `metric`, if it has one; past the budget the target failed by `missing`.

        `missing` completes "… within 5 s": `no TLS handshake`. `seconds` caps this phase alone. A phase that fails
        leaves no time behind: it was not measured.
        """
        began = time.perf_counter()
        budget = self.left_seconds if seconds is None else min(seconds, self.left_seconds)
        try:
            async with asyncio.timeout(budget) as deadline:
                yield
        except TimeoutError as exc:
            if deadline.expired():
                self.fail(f"{missing} within {self.timeout_seconds:g} s")
            self.fail(f"{missing}: {exc.strerror or exc}")
        if metric:
            self.metrics[metric] = self.metrics.get(metric, 0.0) + time.perf_counter() - began

    def fail(self, reason: str) -> NoReturn:
        """End the measurement: the target failed by `reason`, and what was measured before is kept."""
        raise Unreachable(reason, self.metrics) from None

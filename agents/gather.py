"""Let results gather for a moment, so that one write and one request carry several."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.sink import Sink
    from checks.result import Result

HURRY_SECONDS = 0.1
"""A target that fails often fails for several checks at once: they share a write, and nobody waits noticeably."""


class Gather:
    """Collects results and hands them to a sink after at most `flush_seconds`, and what tells of trouble at once."""

    def __init__(self, sink: Sink, flush_seconds: float) -> None:
        """Take the sink; `flush_seconds` may be changed at any time."""
        self.flush_seconds = flush_seconds
        self._sink = sink
        self._results: list[Result] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flush_at = 0.0

    def add(self, result: Result) -> None:
        """Take a result. The first sets the time for all; one that comes near that time takes the others along.

        So an agent with some checks a second need not wake up once more to flush. Trouble does not wait for company.
        """
        self._results.append(result)
        now = asyncio.get_running_loop().time()
        if result.reason or result.error:
            self._flush_by(now + min(HURRY_SECONDS, self.flush_seconds))
        elif self._timer is None:
            self._flush_by(now + self.flush_seconds * random.uniform(0.9, 1.0))  # noqa: S311  (sites must not flush in step)
        elif now > self._flush_at - self.flush_seconds / 5:
            self._flush()

    async def close(self) -> None:
        """Hand over what is there, and return when it is safe."""
        if self._results:
            self._flush()
        await self._sink.close()

    def _flush_by(self, at: float) -> None:
        if self._timer is not None:
            if self._flush_at <= at:
                return
            self._timer.cancel()
        self._flush_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        results, self._results = self._results, []
        self._sink.write(results)

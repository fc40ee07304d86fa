"""Let results gather for a moment, so that one write and one request carry several."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.sink import Sink
    from checks.result import Result


class Gather:
    """Collects results and hands them to a sink after at most `flush_seconds`."""

    def __init__(self, sink: Sink, flush_seconds: float) -> None:
        """Take the sink; `flush_seconds` may be changed at any time."""
        self.flush_seconds = flush_seconds
        self._sink = sink
        self._results: list[Result] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flush_at = 0.0

    def add(self, result: Result) -> None:
        """Take a result. The first sets the time for all; one that comes near that time takes the others along.

        So an agent with some checks a second need not wake up once more to flush.
        """
        self._results.append(result)
        loop = asyncio.get_running_loop()
        if self._timer is None:
            wait = self.flush_seconds * random.uniform(0.9, 1.0)  # noqa: S311  (sites must not flush in step)
            self._flush_at = loop.time() + wait
            self._timer = loop.call_at(self._flush_at, self._flush)
        elif loop.time() > self._flush_at - self.flush_seconds / 5:
            self._flush()

    async def close(self) -> None:
        """Hand over what is there, and return when it is safe."""
        if self._results:
            self._flush()
        await self._sink.close()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        results, self._results = self._results, []
        self._sink.write(results)

"""Let results gather for a moment, so that one write and one request carry several."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.sink import Sink
    from checks.result import Result

MOST_RESULTS = 20_000
"""What may gather while a write hangs: a disk that stands still must not take the machine's memory as well."""


class Gather:
    """Collects results and writes them to a sink within about `flush_seconds`, one write at a time."""

    def __init__(self, sink: Sink, flush_seconds: float, *, say: Callable[[str], None]) -> None:
        """Take the sink; `flush_seconds` may be changed at any time."""
        self.flush_seconds = flush_seconds
        self._sink, self._say = sink, say
        self._results: list[Result] = []
        self._timer: asyncio.TimerHandle | None = None
        self._write: asyncio.Task[None] | None = None

    def add(self, result: Result) -> None:
        """Take a result; the first of a gathering sets the time for all."""
        if len(self._results) >= MOST_RESULTS:
            self._say(f"the disk has not answered for long: {MOST_RESULTS} results are given up")
            self._results.clear()
        self._results.append(result)
        if self._timer is None and self._write is None:
            self._arm()

    async def close(self) -> None:
        """Write what is there, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._write is not None or self._results:
            if self._write is None:
                self._flush()
            else:
                await asyncio.wait({self._write})

    def _arm(self) -> None:
        wait = self.flush_seconds * random.uniform(0.75, 1.0)  # noqa: S311  (sites must not flush in step)
        self._timer = asyncio.get_running_loop().call_later(wait, self._flush)

    def _flush(self) -> None:
        self._timer = None
        results, self._results = self._results, []
        self._write = asyncio.create_task(self._sink.write(results))
        self._write.add_done_callback(self._written)

    def _written(self, write: asyncio.Task[None]) -> None:
        self._write = None
        if not write.cancelled() and (trouble := write.exception()) is not None:
            self._say(f"results could not be written: {type(trouble).__name__}: {trouble}")
        if self._results:
            self._arm()

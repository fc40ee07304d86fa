"""Where results go. The service knows no more of it than `write` and `close`."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol

from checks.line_protocol import encode_result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agents.delivery import Delivery
    from agents.spool import Spool
    from checks.result import Result

MOST_WRITES = 1_000
"""What may queue while a disk stands still: it must not take the machine's memory as well."""


class Sink(Protocol):
    """Takes results and keeps them safe, or says why not by its own means: it does not raise."""

    def write(self, results: Sequence[Result]) -> None:
        """Take results, in their order; this does not wait for a disk or a line."""
        ...

    async def close(self) -> None:
        """Return when all that was taken is safe."""
        ...


class SpoolSink:
    """The agent's own sink: onto the disk first, then the line.

    A thread does the writing, because a slow disk must not stretch what is being measured; a thread of its own and not
    `asyncio.to_thread`, because to wake the event loop once more for each write is a tenth of what an agent costs.
    """

    def __init__(self, spool: Spool, delivery: Delivery, *, say: Callable[[str], None]) -> None:
        """Join the two; both are started and stopped by whoever made them."""
        self._spool, self._delivery, self._say = spool, delivery, say
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        self._thread.start()

    def write(self, results: Sequence[Result]) -> None:
        """Take results; they are on the disk, synced, a moment later."""
        if self._queue.qsize() < MOST_WRITES:
            self._queue.put(partial(self._keep, results))
        else:
            self._say(f"the disk has not answered for long: {len(results)} results are given up")

    def aside(self, step: Callable[[], None]) -> None:
        """Do something else that touches the disk, off the event loop; it must not raise."""
        self._queue.put(step)

    async def close(self) -> None:
        """Return when all that was taken is on the disk."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (step := self._queue.get()) is not None:
            step()

    def _keep(self, results: Sequence[Result]) -> None:
        self._spool.add([self._line(result) for result in results])
        self._delivery.wake()

    def _line(self, result: Result) -> str:
        try:
            line = encode_result(result)
        except ValueError as exc:  # a defect in a check, for example a metric that is not a number
            words = f"the result cannot be sent: {exc}"
            self._say(f"{result.check} of {result.target!r}: {words}")
            line = encode_result(replace(result, metrics={}, reason=None, error=words))
        return " ".join(line.split("\n"))  # only quoted text may hold a line feed; a batch is cut at its lines

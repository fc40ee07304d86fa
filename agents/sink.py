"""Where results go. The service knows no more of it than `write`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from checks.line_protocol import encode_result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agents.delivery import Delivery
    from agents.spool import Spool
    from checks.result import Result


class Sink(Protocol):
    """Takes results and keeps them safe, or says why not by its own means: it does not raise."""

    async def write(self, results: Sequence[Result]) -> None:
        """Take results; when this returns they will survive the end of the process."""
        ...


class SpoolSink:
    """The agent's own sink: onto the disk first, then the line."""

    def __init__(self, spool: Spool, delivery: Delivery, *, say: Callable[[str], None]) -> None:
        """Join the two; both are started and stopped by whoever made them."""
        self._spool, self._delivery, self._say = spool, delivery, say

    async def write(self, results: Sequence[Result]) -> None:
        """Keep results on disk, off the event loop: a slow disk must not stretch what is being measured."""
        lines = [self._line(result) for result in results]
        await asyncio.to_thread(self._spool.add, lines)
        self._delivery.wake()

    def _line(self, result: Result) -> str:
        try:
            line = encode_result(result)
        except ValueError as exc:  # a defect in a check, for example a metric that is not a number
            words = f"the result cannot be sent: {exc}"
            self._say(f"{result.check} of {result.target!r}: {words}")
            line = encode_result(replace(result, metrics={}, reason=None, error=words))
        return " ".join(line.split("\n"))  # only quoted text may hold a line feed; a batch is cut at its lines

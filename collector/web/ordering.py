"""What a person tells the judge over HTTP: journalled before it is answered, like all that is judged."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import TYPE_CHECKING

from collector.orders import entry_of
from collector.pipeline import Arrival
from collector.web.problems import Problem

if TYPE_CHECKING:
    from collector.journal import JournalError
    from collector.orders import Order
    from collector.pipeline import Pipeline

_PATIENCE_SECONDS = 10


class Ordering:
    """Hands orders to the judge's queue, and waits until they are kept."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Order `pipeline`'s judge."""
        self._pipeline = pipeline

    def give(self, order: Order) -> None:
        """Return once an order is in the journal: it is carried out right after; `Problem` 503 where it cannot be."""
        kept: Future[JournalError | None] = Future()
        self._pipeline.put(Arrival(entry_of(order, time.time_ns()), None, kept.set_result, time.monotonic()))
        try:
            problem = kept.result(_PATIENCE_SECONDS)
        except TimeoutError:
            raise Problem(503, "the judge is busy: try again in a moment", retry_after=5) from None
        if problem is not None:
            raise Problem(503, str(problem), retry_after=5)

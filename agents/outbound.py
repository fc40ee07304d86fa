"""All that lies between a result and the collector, in one piece: gather, spool, deliver."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agents.delivery import Delivery
from agents.gather import Gather
from agents.sink import SpoolSink
from agents.spool import Spool
from agents.status import Lock
from agents.uplink import Uplink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agents.config import Collector, SpoolLimits
    from agents.spool import Counters
    from checks.result import Result
    from checks.secret import Secret

LAST_UPLOAD_WITHIN_SECONDS = 5.0


class Outbound:
    """Takes results, keeps them on disk, and carries them to the collector for as long as that takes."""

    def __init__(
        self, folder: Path, collector: Collector, token: Secret, limits: SpoolLimits, *, say: Callable[[str], None]
    ) -> None:
        """Open the spool in `folder`, which nobody else may use: `BlockingIOError` when somebody does.

        `OSError` or `sqlite3.Error` where the folder or the spool cannot be used.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._collector, self._token = collector, token
        self._lock = Lock(folder)
        self._spool = Spool(folder / "spool.sqlite", max_bytes=limits.max_bytes, drop=limits.drop, say=say)
        self._delivery = Delivery(self._spool, self._uplink(), say=say)
        self._sink = SpoolSink(self._spool, self._delivery, say=say)
        self._gather = Gather(self._sink, collector.flush_seconds)

    def start(self) -> None:
        """Begin to send, with whatever an earlier process left."""
        self._delivery.start()

    def add(self, result: Result) -> None:
        """Take a result."""
        self._gather.add(result)

    def aside(self, step: Callable[[], None]) -> None:
        """Do something else that touches the disk, off the event loop; it must not raise."""
        self._sink.aside(step)

    def use(self, collector: Collector, token: Secret, limits: SpoolLimits) -> None:
        """Take up another configuration."""
        changed = (collector, token) != (self._collector, self._token)
        self._collector, self._token = collector, token
        if changed:
            self._delivery.use(self._uplink())
        self._spool.set_limits(limits.max_bytes, limits.drop)
        self._gather.flush_seconds = collector.flush_seconds

    def end_hanging_attempt(self) -> None:
        """Break off an upload that a server keeps alive byte by byte; call it now and then."""
        self._delivery.end_attempt_older_than(3 * self._collector.timeout_seconds)

    def counters(self) -> Counters:
        """Return what waits, and what was given up."""
        return self._spool.counters()

    @property
    def trouble(self) -> str:
        """Why nothing is taken just now, in words; empty when all is well."""
        return self._delivery.trouble

    @property
    def last_upload_at(self) -> int | None:
        """When the collector last took something, nanoseconds since the epoch."""
        return self._delivery.last_upload_at

    @property
    def refused_batches(self) -> int:
        """How many batches had lines that the collector refused."""
        return self._delivery.refused_batches

    async def send_what_is_left(self) -> None:
        """Put on disk what was taken, and try once more to send it."""
        await self._gather.close()
        await asyncio.to_thread(self._delivery.stop, LAST_UPLOAD_WITHIN_SECONDS)

    def close(self) -> None:
        """Free the spool and the folder."""
        self._spool.close()
        self._lock.release()

    def _uplink(self) -> Uplink:
        return Uplink(self._collector, self._token, self._spool.agent)

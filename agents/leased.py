"""Run a check that loads the line: only with the collector's leave, within the check's own interval, or not at all."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from checks.run import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.config import Job
    from agents.leases import LeaseClient
    from checks.result import Result

log = logging.getLogger("nhip.agent")

_SPARE_SECONDS = 5.0


class Leased:
    """What the agent's leases come to: tests that ran, beats at which none could."""

    def __init__(self, client: LeaseClient | None) -> None:
        """Take whom to ask; without anybody, no such test runs."""
        self.client = client
        self.without_lease = 0
        self._said: dict[tuple[str, str], str] = {}

    async def run(self, job: Job, *, site: str, node: str, wanted: Callable[[], bool]) -> Result | None:
        """Ask until there is leave, then measure; None where there was none until shortly before the next beat.

        `wanted` tells whether the job is still in force.
        """
        check = job.check
        size, seconds = int(getattr(check, "lease_bytes", 0)), check.timeout_seconds + _SPARE_SECONDS
        last_at = time.monotonic() + job.interval_seconds - seconds
        while self.client is not None and wanted():
            client = self.client
            leave = await asyncio.to_thread(client.ask, job.target, size, seconds)
            if leave.id is not None:
                self._said.pop(job.key, None)
                return await self._measure(client, leave.id, job, site, node)
            if time.monotonic() + leave.retry_seconds > last_at:
                self._say(job, leave.words)
                break
            await asyncio.sleep(leave.retry_seconds)
        self.without_lease += 1
        return None

    async def _measure(self, client: LeaseClient, lease: str, job: Job, site: str, node: str) -> Result:
        used = None
        try:
            result = await run(job.check, job.target, site=site, node=node)
            spent = [result.metrics[name] for name in ("bytes_sent", "bytes_received") if name in result.metrics]
            used = int(sum(spent)) if spent else None
            return result
        finally:
            await asyncio.shield(asyncio.to_thread(client.give_back, lease, used))

    def _say(self, job: Job, words: str) -> None:
        if self._said.get(job.key) != words:
            self._said[job.key] = words
            log.warning("%s of %s: no lease, so no test: %s", *job.key, words)

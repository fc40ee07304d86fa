"""Run what the schedule says, and hand each result on. It knows neither disk nor line."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from agents.leased import Leased
from agents.schedule import SECOND, Schedule
from checks.run import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.config import AgentConfig, Job
    from agents.leases import LeaseClient
    from checks.result import Result


class Runner:
    """The beat of an agent, on the running event loop."""

    def __init__(self, config: AgentConfig, emit: Callable[[Result], None], leases: LeaseClient | None = None) -> None:
        """Take the jobs, what to call with each result, and whom to ask for leave to load the line."""
        now = time.monotonic_ns()
        self.leased = Leased(leases)
        self._site, self._node = config.file.site, config.file.node
        self._emit = emit
        self._in_error: set[tuple[str, str]] = set()
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self._schedule = Schedule(
            config.jobs,
            site=self._site,
            node=self._node,
            concurrency=config.file.concurrency,
            origin_ns=now - time.time_ns(),
            now=now,
        )

    @property
    def checks(self) -> int:
        """How many checks are in force."""
        return len(self._schedule)

    @property
    def in_error(self) -> int:
        """How many checks could not measure when they last tried."""
        return len(self._in_error)

    @property
    def overruns(self) -> int:
        """How many beats were skipped because the check was still busy with the one before."""
        return self._schedule.overruns

    def start(self) -> None:
        """Begin to beat."""
        self._tick()

    def replace(self, config: AgentConfig) -> None:
        """Take up another configuration; what is unchanged keeps its beat."""
        self._site, self._node = config.file.site, config.file.node
        self._in_error &= {job.key for job in config.jobs}
        self._schedule.replace(
            config.jobs,
            site=self._site,
            node=self._node,
            concurrency=config.file.concurrency,
            now=time.monotonic_ns(),
        )
        self._tick()

    async def stop(self, within_seconds: float) -> None:
        """Start nothing more, and let what runs end for at most `within_seconds`."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for key, task in self._tasks.items():
            if key in self._schedule.parked:  # a test is not worth waiting for
                task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=within_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _tick(self) -> None:
        if self._stopped:
            return
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic_ns()
        for job in self._schedule.take(now):
            self._tasks[job.key] = asyncio.create_task(self._measure(job))
        next_at = self._schedule.next_at()
        if next_at is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0, next_at - time.monotonic_ns()) / SECOND, self._tick)

    async def _measure(self, job: Job) -> None:
        try:
            result = await self._result(job)
        finally:
            self._schedule.done(job)
            del self._tasks[job.key]  # here and not in a callback, which would turn the loop once more
        if result is None:
            return
        if result.error is not None and job in self._schedule:
            self._in_error.add(job.key)
        else:
            self._in_error.discard(job.key)
        self._emit(result)
        if self._schedule.has_waiting:
            self._tick()

    async def _result(self, job: Job) -> Result | None:
        if not getattr(job.check, "lease", False):
            return await run(job.check, job.target, site=self._site, node=self._node)
        self._schedule.park(job)  # it may wait for hours, and must not keep others from their turn
        self._tick()
        return await self.leased.run(job, site=self._site, node=self._node, wanted=lambda: self._is_wanted(job))

    def _is_wanted(self, job: Job) -> bool:
        return not self._stopped and job in self._schedule

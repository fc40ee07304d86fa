"""Run what the schedule says, and hand each result on. It knows neither disk nor line."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from agents.schedule import SECOND, Schedule
from checks.run import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.config import AgentConfig, Job
    from checks.result import Result


class Runner:
    """The beat of an agent, on the running event loop."""

    def __init__(self, config: AgentConfig, emit: Callable[[Result], None]) -> None:
        """Take the jobs, and what to call with each result."""
        now = time.monotonic_ns()
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
            result = await run(job.check, job.target, site=self._site, node=self._node)
        finally:
            self._schedule.done(job)
            del self._tasks[job.key]  # here and not in a callback, which would turn the loop once more
        if result.error is not None and job in self._schedule:
            self._in_error.add(job.key)
        else:
            self._in_error.discard(job.key)
        self._emit(result)
        if self._schedule.has_waiting:
            self._tick()

"""The agent as a service: it joins schedule and outbound, and answers to signals and systemd."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agents.config import load
from agents.heartbeat import heartbeat
from agents.lifecycle import take_up_changes, work
from agents.notify import notify
from agents.outbound import Outbound
from agents.runner import Runner
from agents.status import Status
from checks.strict import ConfigError

if TYPE_CHECKING:
    from agents.config import AgentConfig, Make
    from agents.leases import LeaseClient

log = logging.getLogger("nhip.agent")

CHECKS_END_WITHIN_SECONDS = 5.0


class Service:
    """One running agent."""

    def __init__(self, path: Path, config: AgentConfig, make: Make) -> None:
        """Open all that it needs. `OSError` or `sqlite3.Error` where the folder or the spool cannot be used."""
        self._path, self._config, self._make = path, config, make
        self._began_at = time.monotonic()
        file = config.file
        self._folder = Path(file.data)
        self._outbound = Outbound(self._folder, file.collector, config.token, file.spool, say=log.warning)
        self._reload = asyncio.Event()
        self._reloaded = asyncio.Event()
        self._status_trouble = ""

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT; SIGHUP takes up the file as it is now."""
        self._runner = Runner(self._config, self._outbound.add, self._lease_client(self._config))
        self._outbound.start()
        self._runner.start()
        log.info("agent of %s at %s: %d checks", self._config.file.node, self._config.file.site, self._runner.checks)
        await work([self._beat, self._take_up_changes], self._reload, self._close)

    async def _close(self) -> None:
        await self._runner.stop(CHECKS_END_WITHIN_SECONDS)
        await self._outbound.send_what_is_left()
        self._write_status()
        counters = self._outbound.counters()
        self._outbound.close()
        log.info("agent stopped; %d batches wait in the spool", counters.batches)

    async def _beat(self) -> None:
        """Say at every heartbeat how the agent does: to the collector, to systemd, and to `nhip agent status`."""
        due = time.monotonic()
        while True:
            file = self._config.file
            counters = self._outbound.counters()
            self._outbound.add(
                heartbeat(
                    site=file.site,
                    node=file.node,
                    interval_seconds=file.heartbeat_seconds,
                    began_at=self._began_at,
                    checks=self._runner.checks,
                    in_error=self._runner.in_error,
                    overruns=self._runner.overruns,
                    without_lease=self._runner.leased.without_lease,
                    spool=counters,
                )
            )
            self._outbound.aside(self._write_status)
            trouble = f"; {self._outbound.trouble}" if self._outbound.trouble else ""
            notify(f"STATUS={self._runner.checks} checks, {counters.batches} batches wait{trouble}")
            self._outbound.end_hanging_attempt()
            now = time.monotonic()
            due += file.heartbeat_seconds * (1 + max(0, now - due) // file.heartbeat_seconds)
            await self._pause(due - now)

    async def _pause(self, seconds: float) -> None:
        """Wait; a new configuration may bring a shorter beat, and ends the wait."""
        self._reloaded.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._reloaded.wait()
        except TimeoutError:
            return

    async def _take_up_changes(self) -> None:
        await take_up_changes(self._reload, lambda: load(self._path, self._make), self._use, log)

    def _lease_client(self, config: AgentConfig) -> LeaseClient | None:
        """Return whom to ask for leave to load the line, where any check does."""
        if not any(getattr(job.check, "lease", False) for job in config.jobs):
            return None
        from agents.leases import LeaseClient  # noqa: PLC0415  (most agents load no line)

        return LeaseClient(config.file.collector, config.token)

    def _use(self, config: AgentConfig) -> str:
        before, now = self._config, config.file
        if now.data != before.file.data:
            problem = f"cannot change from {before.file.data} while the agent runs: restart it"
            raise ConfigError([("$.data", problem)], str(self._path))
        leases = self._lease_client(config)
        self._outbound.use(now.collector, config.token, now.spool)
        self._runner.leased.client = leases
        self._config = config
        self._runner.replace(config)
        self._reloaded.set()
        return f"{self._runner.checks} checks"

    def _write_status(self) -> None:
        file, counters, uploaded = self._config.file, self._outbound.counters(), self._outbound.last_upload_at
        status = Status(
            pid=os.getpid(),
            site=file.site,
            node=file.node,
            written_at=time.time(),
            heartbeat_seconds=file.heartbeat_seconds,
            checks=self._runner.checks,
            checks_in_error=self._runner.in_error,
            checks_overrun_total=self._runner.overruns,
            spool_batches=counters.batches,
            spool_bytes=counters.bytes,
            dropped_batches=counters.dropped_batches,
            dropped_bytes=counters.dropped_bytes,
            refused_batches=self._outbound.refused_batches,
            last_upload_at=None if uploaded is None else uploaded / 1e9,
            trouble=self._outbound.trouble,
        )
        try:
            status.write(self._folder)
        except OSError as exc:
            if str(exc) != self._status_trouble:
                log.warning("the status file cannot be written: %s", exc)
            self._status_trouble = str(exc)

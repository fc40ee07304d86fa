"""The reflector as a service: it answers, and tells the collector what it heard."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agents.heartbeat import heartbeat
from agents.lifecycle import take_up_changes, work
from agents.notify import notify
from agents.outbound import Outbound
from agents.reflector.capacity_server import CapacityServer
from agents.reflector.config import load
from agents.reflector.datagrams import ListenError
from agents.reflector.report import Reporter
from agents.reflector.stamp import Limits, StampReflector
from checks.address import literal, split_host_port
from checks.clock_quality import stamp_error_estimate
from checks.strict import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.reflector.config import ReflectorConfig

log = logging.getLogger("nhip.reflector")

_REFRESH_SECONDS = 16.0


class Service:
    """One running reflector. Without a collector in its configuration it only answers."""

    def __init__(self, path: Path | None, config: ReflectorConfig) -> None:
        """Bind every address. `ListenError` where one cannot be, `OSError` where the spool's folder cannot be used."""
        self._path, self._config = path, config
        self._began_at = time.monotonic()
        file = config.file
        addresses = [literal(*split_host_port(text))[0] for text in file.listen]
        limits = Limits(file.limits.packets_per_second, file.limits.burst, file.limits.sessions)
        self.stamp = StampReflector(addresses, keys=config.keys, limits=limits, clock_estimate=self._clock_estimate)
        self._capacity = None
        if file.capacity is not None:
            where = [literal(*split_host_port(text))[0] for text in config.capacity_addresses]
            self._capacity = CapacityServer(where, keys=config.keys, limits=file.capacity.limits)
        self._reporter = Reporter(file.site, file.node, time.monotonic_ns())
        self._outbound = None
        if file.collector is not None:
            self._outbound = Outbound(Path(file.data), file.collector, config.token, file.spool, say=log.warning)
        self._reload = asyncio.Event()

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Work until SIGTERM or SIGINT; SIGHUP takes up senders and keys as the file has them now.

        `ready` is called once it answers and listens to signals.
        """
        self.stamp.start()
        if self._capacity is not None:
            try:
                await self._capacity.start()
            except OSError as exc:
                where = ", ".join(self._config.capacity_addresses)
                raise ListenError(f"{(exc.strerror or 'not bound').lower()}: {where}, for capacity tests") from None
        steps = [self._refresh, self._take_up_changes]
        if self._outbound is not None:
            self._outbound.start()
            steps += [self._publish, self._beat]
        await work(steps, self._reload, self._close, ready)

    async def _close(self) -> None:
        self.stamp.close()
        if self._capacity is not None:
            await self._capacity.stop()
        if self._outbound is not None:
            await self._outbound.send_what_is_left()
            self._outbound.close()
        counts = self.stamp.counts
        refused = sum(value for name, value in counts.items() if name.startswith("refused"))
        log.info("stopped; %d packets reflected, %d refused", counts["reflected"], refused)

    async def _refresh(self) -> None:
        """Look at the clock's quality now and then, forget who is long gone, and say what is refused."""
        told = 0
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            self.stamp.refresh()
            self.stamp.sessions.forget_silent(time.monotonic_ns(), self._config.file.forget_seconds)
            refused = {name: value for name, value in self.stamp.counts.items() if name.startswith("refused")}
            if sum(refused.values()) != told:
                log.warning("packets refused so far: %s", ", ".join(f"{n[8:]} {v}" for n, v in sorted(refused.items())))
                told = sum(refused.values())
            notify(f"STATUS={len(self.stamp.sessions)} sessions, {self.stamp.counts['reflected']} packets reflected")

    async def _publish(self) -> None:
        """Tell the collector of every sender, on a steady beat, also and above all of those that are silent."""
        assert self._outbound is not None  # noqa: S101  (for mypy: `run` starts this only with a collector)
        while True:
            await asyncio.sleep(self._config.file.publish_seconds)
            now, here = time.time_ns(), time.monotonic_ns()
            sessions = self.stamp.sessions.items()
            for result in self._reporter.senders(sessions, self._config.sites, now=now, here=here):
                self._outbound.add(result)
            counts = dict(self.stamp.counts)
            if self._capacity is not None:
                counts |= {f"capacity_{name}": value for name, value in self._capacity.counts.items()}
            self._outbound.add(self._reporter.itself(counts, now))

    async def _beat(self) -> None:
        """Send a heartbeat like any node, unless an agent beside it does: a reflector's death must not go unnoticed."""
        assert self._outbound is not None  # noqa: S101  (for mypy: `run` starts this only with a collector)
        while True:
            file = self._config.file
            if file.heartbeat_seconds is not None:
                self._outbound.add(
                    heartbeat(
                        site=file.site,
                        node=file.node,
                        interval_seconds=file.heartbeat_seconds,
                        began_at=self._began_at,
                        checks=0,
                        in_error=0,
                        overruns=0,
                        spool=self._outbound.counters(),
                    )
                )
            self._outbound.end_hanging_attempt()
            await asyncio.sleep(file.heartbeat_seconds or file.publish_seconds)

    async def _take_up_changes(self) -> None:
        if self._path is None:
            await asyncio.Event().wait()
        else:
            await take_up_changes(self._reload, partial(load, self._path), self._use, log)

    def _use(self, config: ReflectorConfig) -> str:
        before, now = self._config.file, config.file
        for field in ("site", "node", "listen", "capacity", "data", "limits"):
            if getattr(before, field) != getattr(now, field):
                problem = "cannot change while the reflector runs: restart it"
                raise ConfigError([(f"$.{field}", problem)], str(self._path))
        if (before.collector is None) != (now.collector is None):
            problem = "cannot come or go while the reflector runs: restart it"
            raise ConfigError([("$.collector", problem)], str(self._path))
        self._config = config
        self.stamp.keys = config.keys
        if self._capacity is not None:
            self._capacity.keys = config.keys
        if self._outbound is not None and now.collector is not None:
            self._outbound.use(now.collector, config.token, now.spool)
        return f"{len(now.senders)} senders"

    def _clock_estimate(self) -> int:
        return stamp_error_estimate(trust_clock=self._config.file.trust_clock)

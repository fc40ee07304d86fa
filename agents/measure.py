"""Measure one of the agent's own checks now, with the collector's leave where it loads the line."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from agents.leased import Leased
from agents.leases import LeaseClient
from checks.run import run
from checks.strict import ConfigError

if TYPE_CHECKING:
    from agents.config import AgentConfig, Job
    from checks.result import Result


def pick(config: AgentConfig, check: str, target: str | None) -> Job:
    """Return the job of this check (and target); `ConfigError` where the file asks for none, or for several."""
    jobs = [job for job in config.jobs if job.check.name == check and target in (None, job.target)]
    if len(jobs) == 1:
        return jobs[0]
    asked = ", ".join(sorted({f"{job.check.name} of {job.target}" for job in jobs or config.jobs})) or "none"
    words = "asks for several, name one by --target" if jobs else "does not ask for it"
    raise ConfigError([("$.checks", f"the file {words}; there are: {asked}")])


async def measure(config: AgentConfig, job: Job, wait_seconds: float) -> Result | None:
    """Measure once; None where the collector gave no leave within `wait_seconds` (its words go to the log)."""
    site, node = config.file.site, config.file.node
    if not getattr(job.check, "lease", False):
        return await run(job.check, job.target, site=site, node=node)
    office = Leased(LeaseClient(config.file.collector, config.token))
    try:
        async with asyncio.timeout(wait_seconds + job.check.timeout_seconds):
            return await office.run(_patient(job, wait_seconds), site=site, node=node, wanted=lambda: True)
    except TimeoutError:
        return None


def _patient(job: Job, wait_seconds: float) -> Job:
    """Return the job as if its next beat were as far away as we are ready to wait."""
    return replace(job, interval_seconds=wait_seconds + job.check.timeout_seconds + 5)

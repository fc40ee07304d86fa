"""What the agent says of itself, as a result like any other."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from checks.result import Result

if TYPE_CHECKING:
    from agents.spool import Counters

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def heartbeat(
    *,
    site: str,
    node: str,
    interval_seconds: float,
    began_at: float,
    checks: int,
    in_error: int,
    overruns: int,
    spool: Counters,
    without_lease: int = 0,
) -> Result:
    """Return the point `agent`: the collector watches for its silence. `began_at` is monotonic seconds."""
    measured_at, started = time.time_ns(), time.perf_counter()
    metrics: dict[str, float] = {
        "uptime_seconds": round(time.monotonic() - began_at, 3),
        "checks": checks,
        "checks_in_error": in_error,
        "checks_overrun_total": overruns,
        "checks_without_lease_total": without_lease,
        "spool_bytes": spool.bytes,
        "spool_batches": spool.batches,
        "dropped_batches_total": spool.dropped_batches,
        "dropped_bytes_total": spool.dropped_bytes,
        "cpu_seconds_total": round(time.process_time(), 3),
        "heartbeat_seconds": interval_seconds,
    }
    resident = _resident_bytes()
    if resident is not None:
        metrics["resident_bytes"] = resident
    duration = time.perf_counter() - started
    return Result(
        site=site,
        node=node,
        check="agent",
        target="",
        measured_at=measured_at,
        duration_seconds=duration,
        metrics=metrics,
    )


def _resident_bytes() -> int | None:
    """Read the second number of /proc/self/statm (proc(5)): resident pages. Absent where there is no /proc."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  (every few seconds for years: no Path objects)
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return None

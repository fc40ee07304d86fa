"""Run a check once. Clock, deadline, cancellation and exceptions live here alone, so that no check can forget them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from checks.check import CheckError, Unreachable
from checks.child import measure_in_child
from checks.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from checks.check import Check


async def run(
    check: Check,
    target: str,
    *,
    site: str,
    node: str,
    clock: Callable[[], int] = time.time_ns,
) -> Result:
    """Measure `target` and return a `Result`, whatever happens, within the check's own `timeout_seconds`.

    Only cancellation by the caller passes through. `clock` returns nanoseconds since the epoch; the duration is
    taken from the monotonic clock, so that a step of the wall clock cannot bend it.
    """
    measured_at = clock()
    began = time.perf_counter()
    metrics: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    reason = error = None
    try:
        async with asyncio.timeout(check.timeout_seconds) as deadline:
            if getattr(check, "child_process", False):
                found = await measure_in_child(check, target)
            else:
                found = await check.measure(target)
        metrics, notes = dict(found), getattr(found, "notes", ())
    except Unreachable as exc:
        metrics, reason, notes = {**check.unreachable, **exc.metrics}, exc.reason, exc.notes
    except CheckError as exc:
        error = str(exc)
    except TimeoutError:
        if deadline.expired():
            metrics, reason = dict(check.unreachable), f"no answer within {check.timeout_seconds:g} s"
        else:
            metrics, reason = dict(check.unreachable), "the connection timed out"
    except Exception as exc:  # noqa: BLE001  (a defect in one check must not stop the others)
        error = f"{type(exc).__name__}: {exc}"
    return Result(
        site=site,
        node=node,
        check=check.name,
        target=target,
        measured_at=measured_at,
        duration_seconds=time.perf_counter() - began,
        metrics=metrics,
        notes=notes,
        reason=reason,
        error=error,
    )

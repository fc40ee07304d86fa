"""A diagnosis: every side looked at once, a first verdict within two seconds, the last at the deadline at latest."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from agents.diagnose.finding import Finding, of_result, unseen
from agents.diagnose.inside import look_inside
from agents.diagnose.verdict import Verdict, verdict_of
from checks import registry
from checks.run import run
from checks.strict import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from agents.diagnose.inside import Login
    from agents.diagnose.looks import Look, Sides

FIRST_SECONDS = 2.0


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a site so far. `at` is when looking began, in nanoseconds since the epoch."""

    site: str
    at: int
    took_seconds: float
    final: bool
    verdict: Verdict
    findings: list[Finding]

    def told(self) -> dict[str, Any]:
        """Return it as plain data, each finding with its sentence."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        for row, finding in zip(built["findings"], self.findings, strict=True):
            row["text"] = finding.text
        return built


async def diagnose(
    site: str,
    sides: Sides,
    login: Login | None,
    *,
    seconds: float = 5.0,
    clock: Callable[[], int] = time.time_ns,
) -> AsyncIterator[Diagnosis]:
    """Yield a first diagnosis when the quick looks are done, and the last one when all are, or at the deadline."""
    at, began = clock(), time.perf_counter()
    found: list[Finding] = []

    def so_far(*, final: bool) -> Diagnosis:
        ordered = sorted(found, key=_reading_order)
        took = time.perf_counter() - began
        verdict = verdict_of(found, sides.upstream)
        return Diagnosis(site=site, at=at, took_seconds=took, final=final, verdict=verdict, findings=ordered)

    quick = [asyncio.create_task(_look(look, site, found)) for look in sides.outside]
    slow = [asyncio.create_task(_look(look, site, found)) for look in sides.services]
    if login is not None and sides.gateway is not None:
        slow.append(asyncio.create_task(_inside(sides.gateway.address, sides.inside, login, found)))
    try:
        _, late = await asyncio.wait(quick, timeout=min(FIRST_SECONDS, seconds)) if quick else (set(), set())
        yield so_far(final=False)
        rest = [*late, *slow]
        if rest:
            await asyncio.wait(rest, timeout=max(0.0, seconds - (time.perf_counter() - began)))
        for task, look in zip([*quick, *slow], [*sides.outside, *sides.services], strict=False):
            if not task.done():
                found.append(unseen(look.probe, look.target, "no answer in time", about=look.about, line=look.line))
        yield so_far(final=True)
    finally:
        for task in (*quick, *slow):
            task.cancel()
        await asyncio.gather(*quick, *slow, return_exceptions=True)


async def _look(look: Look, site: str, found: list[Finding]) -> None:
    try:
        check = registry.make(look.check, look.parameters)
    except ConfigError as exc:
        found.append(unseen(look.probe, look.target, exc.problems[0][1], about=look.about, line=look.line))
        return
    result = await run(check, look.target, site=site, node="diagnosis")
    finding = of_result(result, probe=look.probe, about=look.about, line=look.line)
    if look.probe == "reflector" and finding.state == "lost" and "unreachable" not in finding.reason:
        finding = unseen(look.probe, look.target, "no answer: it may take only packets with a key")
    found.append(finding)


async def _inside(host: str, looks: Sequence[Look], login: Login, found: list[Finding]) -> None:
    async for finding in look_inside(host, looks, login):
        found.append(finding)


_ORDER = (
    "router", "elsewhere", "neighbour", "carrier", "gateway", "lan", "reflector", "service",
    "login", "agent", "inside_line", "inside_lan", "inside_service",
)  # fmt: skip


def _reading_order(finding: Finding) -> tuple[int, int, str]:
    """From the data centre outwards, then from inside."""
    return _ORDER.index(finding.probe), finding.line, finding.target

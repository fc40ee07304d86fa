"""`run`: whatever a check does, a result comes back, within its deadline."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

import pytest

from checks.check import CheckError, Noted, Unreachable
from checks.phases import Phases
from checks.run import run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from checks.result import Result


@dataclass(frozen=True)
class Story:
    """A check that does what a test says."""

    name: ClassVar[str] = "story"
    summary: ClassVar[str] = "does what a test says"
    target_help: ClassVar[str] = "anything"
    metrics: ClassVar[Mapping[str, str]] = {"success": "1 or 0"}
    unreachable: ClassVar[Mapping[str, float]] = {"success": 0.0}

    action: Callable[[], Awaitable[dict[str, float]]]
    timeout_seconds: float = 5.0

    async def measure(self, _target: str) -> dict[str, float]:
        return await self.action()


async def tell(action: Callable[[], Awaitable[dict[str, float]]], timeout_seconds: float = 5.0) -> Result:
    return await run(Story(action, timeout_seconds), "t", site="s", node="n", clock=lambda: 42)


async def test_an_answer_is_metrics_at_the_time_it_began() -> None:
    async def answer() -> dict[str, float]:
        return {"success": 1.0}

    result = await tell(answer)
    assert (result.metrics, result.reason, result.error) == ({"success": 1.0}, None, None)
    assert (result.measured_at, result.check, result.target) == (42, "story", "t")


async def test_no_answer_is_a_measurement_with_its_reason_and_what_was_still_seen() -> None:
    async def refuse() -> dict[str, float]:
        raise Unreachable("connection refused", {"dns_seconds": 0.1})

    result = await tell(refuse)
    assert result.metrics == {"success": 0.0, "dns_seconds": 0.1}
    assert (result.reason, result.error) == ("connection refused", None)


async def test_notes_go_along_with_an_answer_and_with_a_missing_one() -> None:
    async def answer() -> dict[str, float]:
        return Noted({"hops": 2.0}, ["1  10.0.0.1", "2  10.0.1.1"])

    async def refuse() -> dict[str, float]:
        raise Unreachable("hop 2 is silent", {"hops": 1.0}, ["1  10.0.0.1"])

    answered, refused = await tell(answer), await tell(refuse)
    assert (answered.metrics, answered.notes) == ({"hops": 2.0}, ("1  10.0.0.1", "2  10.0.1.1"))
    assert asdict(answered)["metrics"] == {"hops": 2.0}
    assert (refused.reason, refused.notes) == ("hop 2 is silent", ("1  10.0.0.1",))


async def test_our_own_trouble_and_a_defect_are_errors_without_metrics() -> None:
    async def forbid() -> dict[str, float]:
        raise CheckError("no permission")

    async def defect() -> dict[str, float]:
        return {"x": 1 / 0}

    assert (await tell(forbid)).error == "no permission"
    assert (await tell(defect)).error == "ZeroDivisionError: division by zero"
    assert (await tell(defect)).metrics == {}


async def test_a_check_that_hangs_ends_at_its_deadline() -> None:
    async def hang() -> dict[str, float]:
        await asyncio.sleep(60)
        return {}

    result = await tell(hang, 0.05)
    assert (result.metrics, result.reason) == ({"success": 0.0}, "no answer within 0.05 s")


async def test_a_time_out_of_the_kernels_is_not_the_deadline() -> None:
    async def time_out() -> dict[str, float]:
        raise TimeoutError

    assert (await tell(time_out)).reason == "the connection timed out"


async def test_cancelling_passes_through() -> None:
    task = asyncio.create_task(tell(lambda: asyncio.sleep(60, {})))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_slow_phase_is_named_and_the_quick_ones_are_kept() -> None:
    async def phased() -> dict[str, float]:
        phases = Phases(0.4)
        async with phases.phase("dns_seconds", "no name"):
            await asyncio.sleep(0)
        async with phases.phase("connect_seconds", "no connection"):
            await asyncio.sleep(60)
        return phases.metrics

    result = await tell(phased, 0.4)
    assert result.reason == "no connection within 0.4 s"
    assert set(result.metrics) == {"success", "dns_seconds"}


async def test_a_phase_that_comes_twice_adds_up_and_one_cut_by_the_kernel_says_how() -> None:
    phases = Phases(5)
    for _ in range(2):
        async with phases.phase("connect_seconds", "no connection"):
            await asyncio.sleep(0.02)
    assert phases.metrics["connect_seconds"] >= 0.04
    with pytest.raises(Unreachable, match="no connection: Connection timed out"):
        async with phases.phase("connect_seconds", "no connection"):
            raise TimeoutError(110, "Connection timed out")

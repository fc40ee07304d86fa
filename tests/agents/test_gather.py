"""How results gather: company for what is well, no wait for what is not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agents.gather import Gather
from checks.result import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


class MemorySink:
    """Keeps what it is given, one list for each write."""

    def __init__(self) -> None:
        self.writes: list[list[str]] = []
        self.closed = False

    def write(self, results: Sequence[Result]) -> None:
        self.writes.append([result.target for result in results])

    async def close(self) -> None:
        self.closed = True


def result(target: str, reason: str | None = None, error: str | None = None) -> Result:
    return Result(
        site="s", node="n", check="c", target=target, measured_at=1, duration_seconds=0, reason=reason, error=error
    )


async def test_results_wait_for_each_other_and_leave_together(until_async: Callable[..., Awaitable[None]]) -> None:
    sink = MemorySink()
    gather = Gather(sink, flush_seconds=0.2)
    gather.add(result("a"))
    gather.add(result("b"))
    assert sink.writes == []
    await until_async(lambda: sink.writes)
    assert sink.writes == [["a", "b"]]


async def test_trouble_waits_for_nobody_and_takes_the_others_along(
    until_async: Callable[..., Awaitable[None]],
) -> None:
    sink = MemorySink()
    gather = Gather(sink, flush_seconds=300)
    for number, bad in enumerate((result("bad", reason="no answer"), result("bad", error="no permission"))):
        gather.add(result("good"))
        await asyncio.sleep(0)
        assert len(sink.writes) == number
        gather.add(bad)
        gather.add(bad)
        await until_async(lambda expected=number + 1: len(sink.writes) == expected)
    assert sink.writes == [["good", "bad", "bad"]] * 2


async def test_what_has_gathered_is_kept_at_the_end() -> None:
    sink = MemorySink()
    gather = Gather(sink, flush_seconds=300)
    gather.add(result("a"))
    await gather.close()
    assert (sink.writes, sink.closed) == ([["a"]], True)

"""What every service of ours does alike: it works until a signal, takes up a changed file, and ends in order."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from typing import TYPE_CHECKING, TypeVar

from agents.notify import feed_watchdog, notify
from checks.strict import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from logging import Logger

    Step = Callable[[], Coroutine[object, object, None]]

Config = TypeVar("Config")


async def work(
    steps: Sequence[Step],
    reload: asyncio.Event,
    close: Callable[[], Awaitable[None]],
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Run the steps, each of which goes on for ever, until SIGTERM or SIGINT; then `close`. SIGHUP sets `reload`.

    `ready` is called once signals are listened to: who is told before that could end us by one.
    A step that ends by itself has failed: the service ends with its error, so that it does not look like a good end.
    """
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    tasks = [asyncio.create_task(step()) for step in (*steps, feed_watchdog)]
    gc.collect()
    gc.freeze()  # what was built to start stays to the end: never walk through it again
    notify("READY=1")
    ready()
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    notify("STOPPING=1", "STATUS=stopping")
    for task in tasks:
        task.cancel()
    await close()
    for task in tasks:
        if task.done() and not task.cancelled() and (failure := task.exception()) is not None:
            raise failure


async def take_up_changes(
    reload: asyncio.Event, load: Callable[[], Config], use: Callable[[Config], str], log: Logger
) -> None:
    """Whenever `reload` is set, load the configuration anew and use it; one with a mistake changes nothing.

    `use` returns what is in force now, in words.
    """
    while True:
        await reload.wait()
        reload.clear()
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            log.info("configuration taken up: %s", use(await asyncio.to_thread(load)))
        except (ConfigError, OSError) as exc:
            for line in exc.lines() if isinstance(exc, ConfigError) else [str(exc)]:
                log.warning("%s", line)
            log.warning("the configuration before stays in force")
        notify("READY=1")

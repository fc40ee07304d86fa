"""Running a collector in the foreground: until a signal, and then in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING

import uvloop

from collector.database import DatabaseError
from collector.journal import JournalError
from collector.serving import StartError, build, listen, serve
from collector.store import StoreError
from collector.telling.channel import ChannelError

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from collector.config import Config
    from collector.serving import Collector

log = logging.getLogger(__name__)

START_ERRORS = (StartError, JournalError, StoreError, DatabaseError, ChannelError)


def log_to_stderr() -> None:
    """Log one line each to standard error, where systemd and people look."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def open_collector(config: Config) -> tuple[Collector, socket]:
    """Bind and build; any of `START_ERRORS` says in one line why that cannot be."""
    sock = listen(config.address())
    try:
        return build(config), sock
    except BaseException:
        sock.close()
        raise


def run_until_signal(
    collector: Collector, sock: socket, ready: Callable[[], None], ending: Callable[[], None] = lambda: None
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is called once the address answers, `ending` while it still does."""
    uvloop.run(_run(collector, sock, ready, ending))


async def _run(collector: Collector, sock: socket, ready: Callable[[], None], ending: Callable[[], None]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await asyncio.to_thread(collector.start)
    try:
        done = asyncio.Event()
        serving = asyncio.create_task(serve(collector, sock, done))
        await asyncio.to_thread(ready)
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        await asyncio.to_thread(ending)
        done.set()
        await serving
    finally:
        await asyncio.to_thread(collector.stop)

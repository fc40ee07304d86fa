"""Tell systemd how the service does: sd_notify(3), one datagram a message."""

from __future__ import annotations

import asyncio
import os
import socket


def notify(*states: str) -> None:
    """Send `READY=1`, `STATUS=…` and the like where systemd listens for them; nothing happens elsewhere."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto("\n".join(states).encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
        except OSError:  # a manager that does not listen must not stop the service
            return


def watchdog_seconds() -> float | None:
    """Return how often systemd wants a sign of life, or None where it wants none."""
    pid, usec = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not usec.isdecimal() or int(usec) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(usec) / 1_000_000


async def feed_watchdog() -> None:
    """Show systemd's watchdog, for ever, that the event loop turns."""
    seconds = watchdog_seconds()
    while seconds is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds / 3)
    await asyncio.Event().wait()

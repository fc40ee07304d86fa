"""TCP load of a capacity test, at either end: send until a cap is reached, receive until the end, and the figures.

The figures are those of RFC 6349: throughput, the share of bytes that were not sent again (4.2), and how much longer a
round trip takes under load than before (4.3). The kernel of the sending end counts both.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from checks.tcp_info import tcp_info

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

_CHUNK_BYTES = 65_536
_LOOK_SECONDS = 0.05
_STARTING_SHARE = 0.25  # slow start is not what the line carries
_CHUNK = os.urandom(_CHUNK_BYTES)
_IP_HEADER_BYTES: dict[int, int] = {socket.AF_INET: 20, socket.AF_INET6: 40}


class Meter:
    """Bytes over time, of all connections of a direction together."""

    def __init__(self, most_bytes: int, seconds: float) -> None:
        """Take the caps."""
        self.bytes = 0
        self.most_bytes, self.seconds = most_bytes, seconds
        self._looks: list[tuple[float, int]] = []
        self._rtts: list[float] = []
        self._sent = self._retransmitted = 0
        self.line_sent = self.line_received = 0  # bytes of the IP layer, once the connections have ended
        self._least_rtt = float("inf")

    @property
    def left_seconds(self) -> float:
        """Seconds until the time is over; it begins with the first byte."""
        return self.seconds - (time.monotonic() - self._looks[0][0]) if self._looks else self.seconds

    def count(self, number: int) -> None:
        """Take bytes in."""
        self.bytes += number
        now = time.monotonic()
        if not self._looks or now - self._looks[-1][0] >= _LOOK_SECONDS:
            self._looks.append((now, self.bytes))

    def look(self, sock: TransportSocket, *, last: bool = False) -> None:
        """Ask the kernel for the round trip at this moment, and at the end for what was sent again."""
        info = tcp_info(sock)
        if info is None:
            return
        if info.rtt_seconds:
            self._rtts.append(info.rtt_seconds)
        if info.min_rtt_seconds:
            self._least_rtt = min(self._least_rtt, info.min_rtt_seconds)
        if last:
            self._sent += info.bytes_sent
            self._retransmitted += info.bytes_retransmitted
            spent = info.ip_bytes(_IP_HEADER_BYTES[sock.family])
            self.line_sent, self.line_received = self.line_sent + spent[0], self.line_received + spent[1]

    def receiving_figures(self) -> dict[str, float]:
        """Return throughput after the first quarter of the time, and the bytes and seconds it all took."""
        if not self._looks or self.bytes == 0:
            return {}
        now = time.monotonic() if self._looks[-1][1] < self.bytes else self._looks[-1][0]
        began = self._looks[0][0]
        from_at = began + (now - began) * _STARTING_SHARE
        start = next((look for look in self._looks if look[0] >= from_at), self._looks[0])
        figures = {"bytes": float(self.bytes), "seconds": now - began}
        if now > start[0]:
            figures["throughput"] = (self.bytes - start[1]) * 8 / (now - start[0])
        return figures

    def sending_figures(self) -> dict[str, float]:
        """Return what the kernel counted and measured."""
        figures = {"sent": float(self._sent), "retransmitted": float(self._retransmitted)}
        if self._rtts:
            figures |= {"loaded_rtt": sum(self._rtts) / len(self._rtts), "least_rtt": self._least_rtt}
        return figures


async def pour(writer: asyncio.StreamWriter, meter: Meter) -> None:
    """Send until a cap of the meter is reached, then end this direction of the connection."""
    sock = writer.get_extra_info("socket")
    look_at = 0.0
    with suppress(OSError, TimeoutError):  # the other end has had enough
        while meter.bytes < meter.most_bytes and meter.left_seconds > 0:
            chunk = _CHUNK[: meter.most_bytes - meter.bytes]
            meter.count(len(chunk))
            writer.write(chunk)
            async with asyncio.timeout(max(0.001, meter.left_seconds)):
                await writer.drain()
            now = time.monotonic()
            if now >= look_at:
                meter.look(sock)
                look_at = now + _LOOK_SECONDS
    with suppress(OSError):
        writer.write_eof()


async def drain(reader: asyncio.StreamReader, meter: Meter) -> None:
    """Receive until the sender ends, or a cap of the meter is reached."""
    with suppress(OSError, TimeoutError):
        while meter.bytes < meter.most_bytes and meter.left_seconds > 0:
            async with asyncio.timeout(max(0.001, meter.left_seconds)):
                data = await reader.read(_CHUNK_BYTES * 4)
            if not data:
                return
            meter.count(len(data))

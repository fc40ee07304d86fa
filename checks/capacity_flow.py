"""The two ends of a direction of a UDP capacity test: one sends as it is told, the other listens and tells.

Both block, so each belongs into a thread of its own; both end by themselves, by caps on packets, time and silence.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks import capacity_wire as wire
from checks.capacity_wire import LARGEST_PACKET, Do, Load, Order
from checks.timestamps import Steps, received_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from checks.capacity_search import Search

SECOND = 1_000_000_000
SILENCE_NS = SECOND
_SPIN_NS = 120_000
_BEHIND_NS = 3_000_000
_LISTEN_EVERY_NS = 500_000
_BUFFER_BYTES = 4 << 20
_READS_AT_ONCE = 64
_ANCILLARY_BYTES = 128
_SO_RXQ_OVFL = 40
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32
_LINGER_NS = SECOND // 5
_IDLE_SECONDS = 0.002
_LAST_ORDER = (1 << 32) - 1


@dataclass(slots=True)
class Flow:
    """What an end has counted: packets of load, orders, and what the kernel threw away here before we read it."""

    packets: int = 0
    orders: int = 0
    dropped_here: int = 0
    trouble: str = ""


def prepare(sock: socket.socket) -> None:
    """Give a UDP socket the buffers and the kernel's stamps of arrival that a test needs."""
    for forced, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, _BUFFER_BYTES)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, plain, _BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
    sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)


class Sender:
    """Sends load over a connected socket, as the orders that come back say."""

    def __init__(
        self,
        sock: socket.socket,
        cookie: int,
        *,
        packet_bytes: int,
        headers_bytes: int,
        max_packets: int,
        most_rate: int,
        seconds: float,
        stopped: Callable[[], bool],
    ) -> None:
        """Take the socket, the test's cookie, the length of an IP packet, and the caps that no order lifts."""
        self.flow = Flow()
        self._socket, self._cookie = sock, cookie
        self._bits, self._max_packets, self._stopped = packet_bytes * 8, max_packets, stopped
        self._most_rate = most_rate
        self._buffer = bytearray(os.urandom(packet_bytes - headers_bytes))
        self._order = Order(0, Do.PULSE, 0, 0)
        self._index = 0
        self._heard_at = time.monotonic_ns()
        self._ends_at = self._heard_at + round(seconds * SECOND)

    def run(self) -> Flow:
        """Obey until an order says stop, the peer falls silent, or a cap is reached."""
        next_at = listen_at = 0
        while self._order.do is not Do.STOP:
            now = time.monotonic_ns()
            pacing = self._order.do is Do.TRAIN and self._order.rate > 0
            if not pacing or now >= listen_at:
                listen_at = now + _LISTEN_EVERY_NS
                self._listen(now)
                if self._over(now):
                    break
                pacing = self._order.do is Do.TRAIN and self._order.rate > 0
            if not pacing:
                select.select([self._socket], [], [], _IDLE_SECONDS)
            elif now >= next_at:
                self._send()
                # What was missed is not made up for: a burst of it would wait in the line, and look like its end.
                next_at = max(next_at, now - _BEHIND_NS) + self._bits * SECOND // min(self._order.rate, self._most_rate)
            elif next_at - now > _SPIN_NS:  # it sleeps a little too long; what is due then goes out together
                time.sleep((next_at - now) / SECOND)
        return self.flow

    def _over(self, now: int) -> bool:
        if now - self._heard_at > SILENCE_NS:
            self.flow.trouble = "the other end fell silent"
        return (
            bool(self.flow.trouble) or now >= self._ends_at or self.flow.packets >= self._max_packets or self._stopped()
        )

    def _listen(self, now: int) -> None:
        """Take the newest order that has come, and send at once what it asks to be sent at once."""
        newest = self._order
        for _ in range(_READS_AT_ONCE):
            try:
                data = self._socket.recv(256)
            except BlockingIOError:
                break
            except OSError as exc:
                self.flow.trouble = _words(exc)
                return
            order = wire.read_order(data, self._cookie)
            if order is not None:
                self._heard_at = now
                self.flow.orders += 1
                if order.number > newest.number:
                    newest = order
        if newest.number > self._order.number:
            self._order, self._index = newest, 0
            for _ in range(min(newest.packets, self._max_packets - self.flow.packets)):
                self._send()

    def _send(self) -> None:
        load = Load(self.flow.packets, self._order.number, self._index, time.monotonic_ns())
        wire.write_load(self._buffer, self._cookie, load)
        try:
            self._socket.send(self._buffer)
        except BlockingIOError:  # our own queue is full: a packet lost like any other
            pass
        except OSError as exc:
            self.flow.trouble = _words(exc)
        self.flow.packets += 1
        self._index += 1


class Receiver:
    """Listens on a connected socket, stamps by the kernel's clock, and tells the sender what the search wants."""

    def __init__(
        self, sock: socket.socket, cookie: int, search: Search, *, seconds: float, stopped: Callable[[], bool]
    ) -> None:
        """Take the socket, the test's cookie, the search that leads, and how long it may take."""
        self.flow = Flow()
        self._socket, self._cookie, self._search, self._stopped = sock, cookie, search, stopped
        self._buffer = bytearray(LARGEST_PACKET)
        self._ends_at = time.monotonic_ns() + round(seconds * SECOND)

    def run(self) -> Flow:
        """Listen until the search is done or the caps are reached, then stop the sender."""
        steps = Steps()
        heard_at = time.monotonic_ns()
        while not self._search.done:
            now = time.monotonic_ns()
            if self._read():
                heard_at = now
            elif now - heard_at > SILENCE_NS:
                self.flow.trouble = "no packet arrived" if not self.flow.packets else "the other end fell silent"
            if self.flow.trouble or now >= self._ends_at or self._stopped():
                break
            order = self._search.next(time.time_ns())
            if order is not None:
                self._tell(order)
            else:
                select.select([self._socket], [], [], _IDLE_SECONDS)
        if steps.look():
            self.flow.trouble = "the clock of the receiving end was set during the test"
        self._stop()
        return self.flow

    def _read(self) -> bool:
        """Take in what has arrived; tell whether anything of the test has."""
        before = self.flow.packets
        for _ in range(_READS_AT_ONCE):
            try:
                length, ancillary, _, _ = self._socket.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
            except BlockingIOError:
                break
            except OSError as exc:
                self.flow.trouble = _words(exc)
                break
            load = wire.read_load(memoryview(self._buffer)[:length], self._cookie)
            if load is None:
                continue
            self.flow.packets += 1
            self._search.packet(load, received_at(ancillary) or time.time_ns())
            for level, kind, data in ancillary:
                if level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL:
                    (self.flow.dropped_here,) = struct.unpack("@I", data)
        return self.flow.packets > before

    def _tell(self, order: Order) -> None:
        self.flow.orders += 1
        try:
            self._socket.send(wire.write_order(self._cookie, order))
        except BlockingIOError:
            pass
        except OSError as exc:
            self.flow.trouble = _words(exc)

    def _stop(self) -> None:
        """Say stop until it is obeyed: while load still comes, and three times at least."""
        stop, trouble = Order(_LAST_ORDER, Do.STOP, 0, 0), self.flow.trouble
        for _ in range(3):
            self._tell(stop)
        quiet_at = time.monotonic_ns() + _LINGER_NS
        while time.monotonic_ns() < quiet_at and not self._stopped():
            if select.select([self._socket], [], [], _LINGER_NS / 2 / SECOND)[0]:
                if not self._drain():
                    break
                self._tell(stop)
            else:
                break
        self.flow.trouble = trouble  # that the sender has gone by now is what we asked for

    def _drain(self) -> bool:
        try:
            for _ in range(_READS_AT_ONCE):
                self._socket.recv(256)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


def _words(exc: OSError) -> str:
    if exc.errno == errno.ECONNREFUSED:
        return "nothing listens for UDP at the other end"
    if exc.errno == errno.EMSGSIZE:
        return "the packets are too large for this path: set packet_bytes lower"
    return (exc.strerror or str(exc)).lower()

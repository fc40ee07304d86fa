"""ICMP echo to thousands of hosts from one socket, stamped by the kernel at both ends, a batch in a system call.

One host's train is `icmp_echo`; this is for the data centre, which looks at every site's gateway at once. The packets
are laid out once; a round changes two numbers in them, chosen so that the checksum stays what it was.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checks.icmp_socket import HEADER_BYTES, checksum, open_icmp
from checks.mmsg import Incoming, Outgoing
from checks.timestamps import BOTH, RECEIVE, USER, Steps, number_departures, switch_on_receive

if TYPE_CHECKING:
    from collections.abc import Sequence

BATCH = 64
_SECOND = 1_000_000_000
_BUFFER_BYTES = 4 * 2**20
_SO_RCVBUFFORCE = 33
_ROW_BYTES = 64
_LEAST_PAYLOAD = 16
_HEADER = struct.Struct("!BBHHH")
_PAYLOAD = struct.Struct("!IHHQ")  # which host, which round, what keeps the checksum, whose packet
_ROUND_AT = HEADER_BYTES + 4
_REPLY = struct.Struct("!BBHHHIHHQ40x")
_REPLY_BEHIND_IP = struct.Struct("!B19xBBHHHIHHQ20x")
_PLAIN_IP = 0x45
_ARRIVED = struct.Struct("@Niill32x")  # SCM_TIMESTAMPING: header, seconds, nanoseconds
_DEPARTED = struct.Struct("@Niill32xNiiIBBBBII32x")  # the same, then a sock_extended_err that ends in the number
_BY_TIMESTAMPING = 4
_ERROR_QUEUE = int(socket.MSG_ERRQUEUE)


@dataclass(slots=True)
class Sweep:
    """What a burst found: of each host the round trips in nanoseconds, None for a lost packet; and whose instants."""

    round_trips: list[list[int | None]]
    source: int


class Burst:
    """Rounds of one packet to each of many IPv4 or IPv6 hosts."""

    def __init__(self, hosts: Sequence[str], family: socket.AddressFamily, payload_bytes: int) -> None:
        """Lay out a packet for each address. `CheckError` says what this machine lacks."""
        self._socket, self._protocol = open_icmp(family)
        self._count = len(hosts)
        self._cookie = int.from_bytes(os.urandom(8), "big")
        self._id = int.from_bytes(os.urandom(2), "big")
        self._behind_ip = family == socket.AF_INET and self._socket.type == socket.SOCK_RAW
        self._source = BOTH if number_departures(self._socket) else switch_on_receive(self._socket)
        self._steps = Steps()
        self._socket.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._outgoing = Outgoing([_sockaddr(family, host) for host in hosts], HEADER_BYTES + payload_bytes)
        self._incoming = Incoming(2 * BATCH, _ROW_BYTES, _ARRIVED.size)
        self._departures = Incoming(2 * BATCH, 0, _DEPARTED.size)
        self._lay_out(payload_bytes)
        self._order: list[int] = []  # which host the kernel's number of a packet stands for, since it counts from 0
        self._left: list[int] = [0] * self._count
        self._stamped: list[bool] = [False] * self._count
        self._back: list[int] = [0] * self._count
        self._seen_here = False  # whether the kernel gave no instant for an arrival
        self._round = 0
        self._waiting = 0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def run(self, rounds: int, packets_per_second: float, tmax_seconds: float) -> Sweep:
        """Send the rounds, paced, and wait for each round's answers no longer than `tmax_seconds`."""
        trips: list[list[int | None]] = [[] for _ in range(self._count)]
        source = self._source
        for number in range(rounds):
            steps = self._steps.look()
            await self._send_round(number, packets_per_second)
            await self._wait(time.monotonic() + tmax_seconds)
            tmax_ns = round(tmax_seconds * _SECOND)
            stepped = self._steps.look() != steps
            for index in range(self._count):
                trip = self._back[index] - self._left[index] if self._back[index] and not stepped else None
                trips[index].append(max(0, trip) if trip is not None and trip <= tmax_ns else None)
                if trip is not None and not self._stamped[index]:
                    source = min(source, RECEIVE)
        return Sweep(trips, USER if self._seen_here else source)

    async def _send_round(self, number: int, packets_per_second: float) -> None:
        self._begin_round(number)
        began, at = time.monotonic(), 0
        while at < self._count:
            ahead = began + at / packets_per_second - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            due = int((time.monotonic() - began) * packets_per_second) + 1 - at
            at += self._send(at, min(BATCH, max(1, due), self._count - at))
            self._listen()
            await asyncio.sleep(0)  # others on this event loop have their turn between two batches

    def _send(self, first: int, count: int) -> int:
        """Send a batch; return how many packets are done with: sent, or the first of them refused by this machine."""
        here = time.time_ns()
        try:
            sent = self._outgoing.send(self._socket, first, count)
        except BlockingIOError:
            return 0
        except OSError:  # no route to this one: it counts as lost; the kernel may have counted it, so count anew
            self._take_departures()
            if self._source == BOTH:
                number_departures(self._socket)
            self._order.clear()
            self._left[first] = here
            return 1
        self._left[first : first + sent] = [here] * sent
        self._order.extend(range(first, first + sent))
        self._waiting += sent
        return sent

    def _listen(self) -> None:
        if self._source == BOTH:
            self._take_departures()
        self._take_arrivals()

    def _take_departures(self) -> None:
        for got in self._departures.batches(self._socket, _ERROR_QUEUE):
            for row in self._departures.rows(_DEPARTED, self._departures.control, got):
                number = row[-1]
                if row[9] != _BY_TIMESTAMPING or number >= len(self._order):
                    continue
                index, at = self._order[number], row[3] * _SECOND + row[4]
                if 0 <= at - self._left[index] < _SECOND:  # else it is an earlier count's: it must not be believed
                    self._left[index], self._stamped[index] = at, True

    def _take_arrivals(self) -> None:
        layout = _REPLY_BEHIND_IP if self._behind_ip else _REPLY
        reply, cookie = self._protocol.reply, self._cookie
        for got in self._incoming.batches(self._socket):
            stamps = self._incoming.rows(_ARRIVED, self._incoming.control, got)
            for row, stamp in zip(self._incoming.rows(layout, self._incoming.data, got), stamps, strict=True):
                index = row[-4]
                if self._behind_ip and row[0] != _PLAIN_IP:
                    continue  # options before the echo: nobody sends those, and they would shift what we read
                if row[-1] != cookie or row[-3] != self._round or row[-9] != reply or index >= self._count:
                    continue
                if not self._back[index]:
                    at = stamp[3] * _SECOND + stamp[4]
                    self._back[index] = at or time.time_ns()
                    self._seen_here = self._seen_here or not at
                    self._waiting -= 1

    async def _wait(self, until: float) -> None:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._socket.fileno(), woken.set)
        try:
            self._listen()
            while self._waiting > 0 and (left := until - time.monotonic()) > 0:
                woken.clear()
                try:
                    async with asyncio.timeout(left):
                        await woken.wait()
                except TimeoutError:
                    break
                self._listen()
        finally:
            loop.remove_reader(self._socket.fileno())
        self._listen()

    def _lay_out(self, payload_bytes: int) -> None:
        filling = b"\x5a" * (payload_bytes - _LEAST_PAYLOAD)
        size, packets = self._outgoing.packet_bytes, self._outgoing.packets
        for index in range(self._count):
            payload = _PAYLOAD.pack(index, 0, 0xFFFF, self._cookie) + filling
            sequence = index & 0xFFFF
            head = _HEADER.pack(self._protocol.request, 0, 0, self._id, sequence)
            head = _HEADER.pack(self._protocol.request, 0, checksum(head + payload), self._id, sequence)
            packets[index * size : (index + 1) * size] = head + payload

    def _begin_round(self, number: int) -> None:
        """Write the round's number into every packet, and beside it what keeps the checksum the same."""
        self._round = number & 0x7FFF
        fields = struct.pack("!HH", self._round, 0xFFFF - self._round)
        size, packets = self._outgoing.packet_bytes, self._outgoing.packets
        for offset, byte in enumerate(fields):
            packets[_ROUND_AT + offset :: size] = bytes([byte]) * self._count
        self._back = [0] * self._count
        self._stamped = [False] * self._count
        self._waiting = 0


def _sockaddr(family: socket.AddressFamily, host: str) -> bytes:
    packed = socket.inet_pton(family, host)
    if family == socket.AF_INET:
        return struct.pack("=HH4s8x", family, 0, packed)
    return struct.pack("=HHI16sI", family, 0, 0, packed, 0)

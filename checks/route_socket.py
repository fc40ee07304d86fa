"""A socket that sends probes with a chosen time to live, and reads who answered them.

Linux hands the ICMP errors for a connected socket's packets to that socket (`IP_RECVERR`), so no right is needed for
ICMP echo and plain UDP. A probe by TCP is a SYN without a connection behind it, and only a raw socket sends such; a raw
socket for UDP also understands routers that quote 8 bytes only.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from checks.check import CheckError
from checks.packet_filter import EQUAL, HEADER_LENGTH_TO_X, LOAD_HALF, LOAD_HALF_X, RETURN, attach
from checks.packets import Packet
from checks.probe_socket import RECVERR, aim, bind_to, make_ready, refuse_to_send
from checks.refusals import read_refusal
from checks.route_probe import IcmpWire, PlainUdpWire, TcpWire, UdpWire
from checks.timestamps import Steps, received_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checks.address import Address
    from checks.route_probe import Kind, Wire

_HOPS = {
    socket.AF_INET: (socket.IPPROTO_IP, socket.IP_TTL),
    socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS),
}
_SO_TIMESTAMPNS = 35
_FLOWS_TO_TRY = 8
_READS_AT_ONCE = 64
_LOWEST_FLOW, _FLOWS = 61_000, 4_000  # above what the kernel hands out by itself


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one probe, and from whom.

    `back_at` is nanoseconds of the wall clock, the kernel's where it gave them, `back_here` of the monotonic clock.
    `refusal` is None where a router said only that the packet's time to live was over, or the destination answered.
    """

    number: int
    back_at: int
    back_here: int
    address: str
    from_destination: bool
    refusal: str | None = None


class ProbeSocket:
    """Sends the probes of one flow to one destination, and hands out what comes back for them, and only for them."""

    def __init__(self, kind: Kind, address: Address, port: int, source: str | None, flow: int) -> None:
        """Open it for `address` (and `port`, where there are ports). `flow` picks the port or identifier to send from.

        The same flow takes the same path at each measurement. Where another socket has it, the next ones are tried;
        `self.flow` is the one taken. `CheckError` says what is missing here, `OSError` is no route.
        """
        self.short_quotes = 0
        self.steps = Steps()
        self._family = address[0]
        self._destination = (self._family, (address[1][0], port, *address[1][2:]))
        self.address = address[1][0]
        self._socket, self.plain = _open(kind, self._family)
        self._reserved: socket.socket | None = None
        try:
            self._prepare(kind, source, flow)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give back the sockets."""
        self._socket.close()
        if self._reserved is not None:
            self._reserved.close()

    def fileno(self) -> int:
        """Let the event loop wait for it."""
        return self._socket.fileno()

    def send(self, number: int, hops: int) -> Packet:
        """Send probe `number` so that it lives `hops` hops; return when it left, read just before.

        Raises `OSError` where there is no route (or an answer to an earlier probe waits: read, and try again),
        `CheckError` where this machine does not let us send.
        """
        packet = self._wire.packet(number)
        self._socket.setsockopt(*_HOPS[self._family], hops)
        steps, left_here, left_at = self.steps.look(), time.monotonic_ns(), time.time_ns()
        try:
            self._socket.send(packet)
        except BlockingIOError:
            raise OSError(errno.ENOBUFS, "the send buffer is full") from None
        except PermissionError as exc:
            refuse_to_send(exc, "the probes")
        return Packet(left_at, left_here, steps)

    def read(self) -> Iterator[Answer]:
        """Hand out what has come back so far, without waiting; bounded, since others may send as fast as they like."""
        for _ in range(_READS_AT_ONCE):
            try:
                data, extra, _, _ = self._socket.recvmsg(2048, 512, socket.MSG_ERRQUEUE)
            except OSError:
                break
            if answer := self._error(data, extra):
                yield answer
        for _ in range(_READS_AT_ONCE):
            try:
                data, extra, _, _ = self._socket.recvmsg(2048, 512)
            except BlockingIOError:
                return
            except OSError:  # an error whose words wait in the queue; the next look reads them
                continue
            here = time.monotonic_ns()
            if self._family == socket.AF_INET and self._socket.type == socket.SOCK_RAW and data:
                data = data[(data[0] & 0x0F) * 4 :]  # a raw IPv4 socket hands out the IP header too
            number = self._wire.answered(data)
            if number is not None:
                yield Answer(number, received_at(extra) or time.time_ns(), here, self.address, from_destination=True)

    def _error(self, data: bytes, extra: list[tuple[int, int, bytes]]) -> Answer | None:
        here = time.monotonic_ns()
        number = self._wire.quoted(data)
        told = next((words for level, kind, words in extra if (level, kind) in RECVERR), b"")
        refusal = read_refusal(told)
        if refusal is None:
            return None
        if number is None:
            self.short_quotes += self.plain and not data
            return None
        from_destination = refusal.address == self.address
        passed = refusal.expired or (from_destination and refusal.no_port)
        at = received_at(extra) or time.time_ns()
        return Answer(number, at, here, refusal.address, from_destination, None if passed else refusal.words)

    def _prepare(self, kind: Kind, source: str | None, flow: int) -> None:
        sock, family = self._socket, self._family
        make_ready(sock)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        raw = sock.type == socket.SOCK_RAW
        if raw and kind != "icmp":
            held = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
            self._reserved = socket.socket(family, held)  # so that no other program sends from this port meanwhile
        self.flow = _bind(self._reserved or sock, source, flow, choose=not raw or self._reserved is not None)
        if raw and source:
            sock.bind((source, 0))
        aim(sock, self._destination[1], "probes")
        here: Address = (family, (sock.getsockname()[0], self.flow))
        self.source = str(here[1][0])
        self._wire = _wire(kind, here, self._destination, plain=self.plain)
        if raw:
            _filter(sock, family, self._wire.answer_port_at, self.flow)


def flow_of(words: str) -> int:
    """Return the number that a flow is best sent from: the same for the same words, on every machine."""
    import zlib  # noqa: PLC0415  (only whoever traces a route needs it)

    return _LOWEST_FLOW + zlib.crc32(words.encode()) % _FLOWS


def _open(kind: Kind, family: int) -> tuple[socket.socket, bool]:
    """Return a socket and whether it is plain UDP, the one that cannot see headers."""
    v6 = family == socket.AF_INET6
    icmp = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
    ways = {
        "icmp": ((socket.SOCK_DGRAM, icmp), (socket.SOCK_RAW, icmp)),
        "udp": ((socket.SOCK_RAW, socket.IPPROTO_UDP), (socket.SOCK_DGRAM, socket.IPPROTO_UDP)),
        "tcp": ((socket.SOCK_RAW, socket.IPPROTO_TCP),),
    }[kind]
    for type_, protocol in ways:
        try:
            return socket.socket(family, type_, protocol), kind == "udp" and type_ == socket.SOCK_DGRAM
        except PermissionError:
            continue
        except OSError as exc:
            raise CheckError(f"this machine cannot open a socket for IPv{6 if v6 else 4}: {exc.strerror}") from None
    other = " (protocol udp needs none)" if kind == "tcp" else ""
    group = ", or: sysctl -w net.ipv4.ping_group_range='0 2147483647'" if kind == "icmp" else ""
    raise CheckError(
        f"no permission to trace a route by {kind}: this process (group {os.getegid()}) has no CAP_NET_RAW{other}. "
        f"In the service's unit: AmbientCapabilities=CAP_NET_RAW{group}"
    )


def _bind(sock: socket.socket, source: str | None, flow: int, *, choose: bool) -> int:
    """Send from `source` and from the first flow that is free, which is returned."""
    if not choose:
        return flow
    host = source or ("::" if sock.family == socket.AF_INET6 else "0.0.0.0")
    for each in range(flow, flow + _FLOWS_TO_TRY):
        try:
            bind_to(sock, host, each)
        except OSError:  # another program sends from there
            continue
        return each
    raise CheckError(f"ports {flow} to {flow + _FLOWS_TO_TRY - 1} are all taken: does another measurement still run?")


def _wire(kind: Kind, source: Address, destination: Address, *, plain: bool) -> Wire:
    if kind == "icmp":
        return IcmpWire(source[0], source[1][1])
    if kind == "tcp":
        return TcpWire(source, destination)
    return PlainUdpWire() if plain else UdpWire(source, destination)


def _filter(sock: socket.socket, family: int, at: int, wanted: int) -> None:
    """Let a raw socket hear this flow only: else the kernel hands it a copy of all that the destination sends here.

    It is heard where the two bytes at offset `at` of the transport header are `wanted`.
    """
    v4 = family == socket.AF_INET  # whose raw sockets see the IP header too
    attach(
        sock,
        [
            *([(HEADER_LENGTH_TO_X, 0, 0, 0)] if v4 else []),
            (LOAD_HALF_X if v4 else LOAD_HALF, 0, 0, at),
            (EQUAL, 0, 1, wanted),
            (RETURN, 0, 0, 0xFFFF),
            (RETURN, 0, 0, 0),
        ],
    )

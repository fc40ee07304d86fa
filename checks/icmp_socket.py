"""A socket for ICMP echo, with or without privileges, IPv4 or IPv6. A packet's two instants are taken here alone."""

from __future__ import annotations

import os
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from checks.check import CheckError
from checks.packets import Answer, Packet
from checks.probe_socket import aim, bind_to, make_ready, send
from checks.refusals import read_refusal, refusal_words
from checks.timestamps import RECEIVE, Steps, error_queue, received_at, switch_on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checks.address import Address

HEADER_BYTES = 8
COOKIE_BYTES = 8

_HEADER = struct.Struct("!BBHHH")
_READS_AT_ONCE = 64
_ANCILLARY_BYTES = 128
_FILTER = 1  # the option's name in both protocols: ICMP_FILTER, ICMP6_FILTER
_SOL_RAW = 255
_GROUP_RANGE = Path("/proc/sys/net/ipv4/ping_group_range")


@dataclass(frozen=True, slots=True)
class Protocol:
    """What differs between ICMP for IPv4 (RFC 792) and for IPv6 (RFC 4443)."""

    number: int
    request: int
    reply: int


_V4 = Protocol(
    socket.IPPROTO_ICMP,
    request=8,
    reply=0,
)
_V6 = Protocol(
    socket.IPPROTO_ICMPV6,
    request=128,
    reply=129,
)


class EchoSocket:
    """Sends echo requests to one address and hands out what comes back for them, and only for them."""

    def __init__(self, address: Address, source: str | None, payload_bytes: int) -> None:
        """Open the socket; `CheckError` says what permission or local address is missing, `OSError` is no route."""
        family, where = address
        self._cookie = os.urandom(COOKIE_BYTES)
        self._payload = (self._cookie * (payload_bytes // COOKIE_BYTES + 1))[:payload_bytes]
        self._socket, self._protocol = open_icmp(family)
        self._stamps = switch_on(self._socket)
        self.steps = Steps()
        try:
            self._prepare(where, source)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket."""
        self._socket.close()

    def fileno(self) -> int:
        """Let the event loop wait for it."""
        return self._socket.fileno()

    def send(self, sequence: int) -> Packet:
        """Send one request and return when it left, as this process saw it; `errors` has the kernel's own word.

        Raises `OSError` where there is no route, `CheckError` where this machine does not let us send.
        """
        packet = _request(self._protocol, self._id, sequence, self._payload)
        steps, left_here, left_at = self.steps.look(), time.monotonic_ns(), time.time_ns()
        send(self._socket, packet, "ICMP echo")
        return Packet(left_at, left_here, steps, min(self._stamps, RECEIVE))

    def read(self) -> Iterator[Answer]:
        """Hand out what has come back so far, without waiting."""
        yield from self.errors()
        for _ in range(_READS_AT_ONCE):
            try:
                answer = self._read()
            except BlockingIOError:
                return
            except OSError:  # a refusal waits in the error queue; reading tells only its number
                answer = None
                yield from self.errors()
            if answer is not None:
                yield answer

    def _prepare(self, where: tuple[object, ...], source: str | None) -> None:
        sock = self._socket
        make_ready(sock)
        if source:
            bind_to(sock, source)
        aim(sock, where, "ICMP echo")
        self.source = str(sock.getsockname()[0])
        self._id = sock.getsockname()[1] if sock.type == socket.SOCK_DGRAM else int.from_bytes(os.urandom(2), "big")

    def _read(self) -> Answer | None:
        data, ancillary, _, _ = self._socket.recvmsg(65_536, _ANCILLARY_BYTES)
        back_here, stamp = time.monotonic_ns(), received_at(ancillary)
        if self._protocol is _V4 and self._socket.type == socket.SOCK_RAW:
            data = data[(data[0] & 0x0F) * 4 :]  # a raw IPv4 socket hands out the IP header too
        sequence = self._ours(data, self._protocol.reply)
        if sequence is None:
            return None
        corrupted = data[HEADER_BYTES:] != self._payload
        return Answer(sequence, stamp or time.time_ns(), back_here, stamp is not None, corrupted)

    def errors(self) -> Iterator[Answer]:
        """Hand out what the kernel says of our own packets: when they left, or that and by whom they were refused."""
        for looped in error_queue(self._socket):
            if looped.refusal is not None:
                sequence = self._ours(looped.data, self._protocol.request)
                if sequence is not None:
                    told = read_refusal(looped.refusal)
                    yield Answer(
                        sequence, refusal=refusal_words(looped.refusal), next_mtu=told.next_mtu if told else None
                    )
            elif looped.sent_at is not None:
                # By the packet's own bytes, not by a counter: a stamp given to another packet is a whole interval off.
                at = looped.data.find(self._cookie)
                if at >= HEADER_BYTES:
                    sequence = int.from_bytes(looped.data[at - 2 : at], "big")
                    yield Answer(sequence, left_at=looped.sent_at)

    def _ours(self, data: bytes, kind: int) -> int | None:
        """Return the sequence number if `data` is of `kind` and carries our id and cookie; refusals may be cut.

        The cookie is looked for wherever it may stand: a reply whose first bytes are damaged is still ours.
        """
        if len(data) < HEADER_BYTES:
            return None
        type_, _, _, id_, sequence = _HEADER.unpack_from(data)
        cookie = data[HEADER_BYTES : HEADER_BYTES + COOKIE_BYTES]
        if type_ != kind or id_ != self._id:
            return None
        ours = self._cookie in data if kind == self._protocol.reply else self._cookie.startswith(cookie)
        return int(sequence) if ours else None


def _request(protocol: Protocol, id_: int, sequence: int, payload: bytes) -> bytes:
    """Build an echo request. The kernel fills in the checksum, except for raw IPv4: so it is always there."""
    packet = _HEADER.pack(protocol.request, 0, 0, id_, sequence) + payload
    return _HEADER.pack(protocol.request, 0, checksum(packet), id_, sequence) + payload


def checksum(data: bytes) -> int:
    """Return the Internet checksum of RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def open_icmp(family: socket.AddressFamily) -> tuple[socket.socket, Protocol]:
    """Return a socket for ICMP echo that hears replies alone, unprivileged where the kernel lets us, and its protocol.

    `CheckError` says what permission is missing.
    """
    protocol = _V6 if family == socket.AF_INET6 else _V4
    sock = _open(family, protocol)
    if sock.type == socket.SOCK_RAW:
        _filter(sock, protocol)
    return sock, protocol


def _open(family: int, protocol: Protocol) -> socket.socket:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            return socket.socket(family, kind, protocol.number)
        except PermissionError:
            continue
        except OSError as exc:
            version = 6 if protocol is _V6 else 4
            raise CheckError(f"this machine cannot open an ICMP socket for IPv{version}: {exc.strerror}") from None
    raise CheckError(_permission())


def _permission() -> str:
    try:
        allowed = "-".join(_GROUP_RANGE.read_text(encoding="ascii").split())
    except OSError:
        allowed = "unknown"
    return (
        f"no permission to send ICMP echo: group {os.getegid()} is not in net.ipv4.ping_group_range ({allowed}), and "
        "this process has no CAP_NET_RAW. As root, either: sysctl -w net.ipv4.ping_group_range='0 2147483647', "
        "or in the service's unit: AmbientCapabilities=CAP_NET_RAW"
    )


def _filter(sock: socket.socket, protocol: Protocol) -> None:
    """Let a raw socket hear echo replies only: without this the kernel wakes us for every ICMP packet of the peer."""
    if protocol is _V4:
        sock.setsockopt(_SOL_RAW, _FILTER, struct.pack("=I", 0xFFFFFFFF ^ (1 << protocol.reply)))
    else:
        blocked = [0xFFFFFFFF] * 8
        blocked[protocol.reply // 32] ^= 1 << (protocol.reply % 32)
        sock.setsockopt(protocol.number, _FILTER, struct.pack("=8I", *blocked))

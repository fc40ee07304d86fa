"""What a probe of `route` looks like on the wire, and how what comes back is told apart: ICMP echo, UDP, TCP SYN.

Where several paths are equally good, a router picks one by what identifies a flow: addresses, protocol, ports; for ICMP
often the first words of its header. So nothing of that may differ between two probes, or each may take another path,
and the hops do not belong together ("Avoiding traceroute anomalies with Paris traceroute", IMC 2006). What does differ
is the number of the probe, within the first 8 bytes of the header, because many routers quote no more (RFC 792):

* ICMP: the sequence number; a word of the payload compensates it, so that the checksum stays;
* UDP: the checksum, which a word of the payload brings about;
* TCP: the sequence number.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from typing import TYPE_CHECKING, Literal, Protocol

from checks.icmp_socket import checksum

if TYPE_CHECKING:
    from checks.address import Address

Kind = Literal["icmp", "udp", "tcp"]

_ICMP = struct.Struct("!BBHHH")
_PORTS_AND_WORDS = struct.Struct("!HHHH")
_TCP = struct.Struct("!HHIIBBHHH")
_TCP_QUOTED = struct.Struct("!HHI")
_COOKIE_BYTES = 8
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_MAXIMUM_SEGMENT = b"\x02\x04\x05\xb4"  # 1460: some middleboxes drop a SYN without this option
_HEADER_WORDS = 6
_MOST_PROBES = 4096


class Wire(Protocol):
    """Writes the probes of one measurement and recognises what comes back for them; strangers' packets are None."""

    protocol: int
    answer_port_at: int
    """Where in an answer the two bytes stand that name this measurement's flow, from its transport header on."""

    def packet(self, number: int) -> bytes:
        """Return the bytes to hand to the socket for probe `number`, 0 to 4095."""
        ...

    def quoted(self, data: bytes) -> int | None:
        """Return the number of the probe that an ICMP error quotes, from its transport header on; it may be cut."""
        ...

    def answered(self, data: bytes) -> int | None:
        """Return the number of the probe that this packet of the destination answers, from its transport header on."""
        ...


class IcmpWire:
    """ICMP echo (RFC 792, RFC 4443). `flow` is the identifier; it and the checksum are the same in every probe."""

    answer_port_at = 4

    def __init__(self, family: int, flow: int) -> None:
        """Take the address family and the identifier."""
        v6 = family == socket.AF_INET6
        self.protocol: int = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
        self._request, self._reply = (128, 129) if v6 else (8, 0)
        self._flow, self._cookie = flow, os.urandom(_COOKIE_BYTES)
        self._first = random.randrange(2**16)  # noqa: S311  (so that a late answer to the measurement before is none to this)

    def packet(self, number: int) -> bytes:
        """Return the request; the kernel writes the checksum, except on a raw IPv4 socket: so it is always there."""
        sequence = (self._first + number) % 2**16
        payload = self._cookie + checksum(self._cookie + sequence.to_bytes(2, "big")).to_bytes(2, "big")
        blank = _ICMP.pack(self._request, 0, 0, self._flow, sequence) + payload
        return _ICMP.pack(self._request, 0, checksum(blank), self._flow, sequence) + payload

    def quoted(self, data: bytes) -> int | None:
        """Recognise a request of ours, quoted or cut."""
        return self._number(data, self._request, whole=False)

    def answered(self, data: bytes) -> int | None:
        """Recognise a reply to a request of ours."""
        return self._number(data, self._reply, whole=True)

    def _number(self, data: bytes, kind: int, *, whole: bool) -> int | None:
        if len(data) < _ICMP.size:
            return None
        type_, _, _, flow, sequence = _ICMP.unpack_from(data)
        cookie = data[_ICMP.size : _ICMP.size + _COOKIE_BYTES]
        foreign = type_ != kind or flow != self._flow or not self._cookie.startswith(cookie)
        if foreign or (whole and len(cookie) < _COOKIE_BYTES):
            return None
        return _near((sequence - self._first) % 2**16)


class UdpWire:
    """UDP (RFC 768) with a header of our own, on a raw socket. The checksum numbers the probe, and is right."""

    protocol: int = socket.IPPROTO_UDP
    answer_port_at = 2

    def __init__(self, source: Address, destination: Address) -> None:
        """Take both ends with their ports."""
        self._pseudo = _pseudo_header(source, destination, self.protocol)
        self._ports = (source[1][1], destination[1][1])
        self._cookie = os.urandom(_COOKIE_BYTES)
        self._first = random.randrange(1, 2**16 - _MOST_PROBES)  # noqa: S311  (0 would mean that there is no checksum)

    def packet(self, number: int) -> bytes:
        """Return header and payload; the last word of the payload makes the checksum what it is to be."""
        wanted = self._first + number
        length = _PORTS_AND_WORDS.size + _COOKIE_BYTES + 4
        header = _PORTS_AND_WORDS.pack(*self._ports, length, wanted)
        payload = self._cookie + number.to_bytes(2, "big")
        word = checksum(self._pseudo + length.to_bytes(2, "big") + header + payload)
        return header + payload + word.to_bytes(2, "big")

    def quoted(self, data: bytes) -> int | None:
        """Recognise a probe of ours: by its payload where that is quoted (translators may renew the checksum)."""
        if len(data) < _PORTS_AND_WORDS.size:
            return None
        source, destination, _, wanted = _PORTS_AND_WORDS.unpack_from(data)
        payload = data[_PORTS_AND_WORDS.size :]
        if (source, destination) != self._ports or payload[:_COOKIE_BYTES] != self._cookie[: len(payload)]:
            return None
        number = _payload_number(payload, self._cookie)
        return _near(wanted - self._first) if number is None else number

    def answered(self, _data: bytes) -> int | None:
        """Recognise nothing: a service that answers by UDP does not say which packet it answers."""
        return None


class PlainUdpWire:
    """UDP through an ordinary socket, which needs no right. Routers that quote 8 bytes only cannot be understood."""

    protocol: int = socket.IPPROTO_UDP
    answer_port_at = 2

    def __init__(self) -> None:
        """Draw the words that make the probes ours."""
        self._cookie = os.urandom(_COOKIE_BYTES)

    def packet(self, number: int) -> bytes:
        """Return the payload; the kernel writes the header."""
        return self._cookie + number.to_bytes(2, "big") + bytes(2)

    def quoted(self, data: bytes) -> int | None:
        """Recognise a quoted payload; the kernel has taken the header off."""
        return _payload_number(data, self._cookie)

    def answered(self, _data: bytes) -> int | None:
        """Recognise nothing: a service that answers by UDP does not say which packet it answers."""
        return None


class TcpWire:
    """TCP SYN (RFC 9293) on a raw socket. The kernel, which knows of no connection, resets what a server accepts."""

    protocol: int = socket.IPPROTO_TCP
    answer_port_at = 2

    def __init__(self, source: Address, destination: Address) -> None:
        """Take both ends with their ports."""
        self._pseudo = _pseudo_header(source, destination, self.protocol)
        self._ports = (source[1][1], destination[1][1])
        self._first = random.randrange(2**32)  # noqa: S311  (no secret: what tells two measurements apart)

    def packet(self, number: int) -> bytes:
        """Return the SYN; its sequence number is the probe's."""
        sequence = (self._first + number) % 2**32
        length = _TCP.size + len(_MAXIMUM_SEGMENT)
        words = (*self._ports, sequence, 0, _HEADER_WORDS << 4, _SYN, 64_240)
        blank = _TCP.pack(*words, 0, 0) + _MAXIMUM_SEGMENT
        return _TCP.pack(*words, checksum(self._pseudo + length.to_bytes(2, "big") + blank), 0) + _MAXIMUM_SEGMENT

    def quoted(self, data: bytes) -> int | None:
        """Recognise a SYN of ours by its ports and sequence number, all that some routers quote."""
        if len(data) < _TCP_QUOTED.size:
            return None
        source, destination, sequence = _TCP_QUOTED.unpack_from(data)
        return _near((sequence - self._first) % 2**32) if (source, destination) == self._ports else None

    def answered(self, data: bytes) -> int | None:
        """Recognise what accepts (SYN, ACK) or refuses (RST, ACK) a SYN of ours: it acknowledges its number."""
        if len(data) < _TCP.size:
            return None
        source, destination, _, acknowledged, _, flags, _, _, _ = _TCP.unpack_from(data)
        if (destination, source) != self._ports or not flags & _ACK or not flags & (_SYN | _RST):
            return None
        return _near((acknowledged - 1 - self._first) % 2**32)


def _near(number: int) -> int | None:
    return number if 0 <= number < _MOST_PROBES else None


def _payload_number(payload: bytes, cookie: bytes) -> int | None:
    if len(payload) < _COOKIE_BYTES + 2 or payload[:_COOKIE_BYTES] != cookie:
        return None
    return _near(int.from_bytes(payload[_COOKIE_BYTES : _COOKIE_BYTES + 2], "big"))


def _pseudo_header(source: Address, destination: Address, protocol: int) -> bytes:
    """Return what the checksum covers beside the packet (RFC 768, RFC 8200 8.1), but for the length: two bytes more."""
    family = source[0]
    ends = b"".join(socket.inet_pton(family, end[1][0].partition("%")[0]) for end in (source, destination))
    return ends + protocol.to_bytes(2, "big")

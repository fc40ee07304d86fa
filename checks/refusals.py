"""What a router or host says when it refuses a packet, in words, and who said it: from a socket's error queue."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import NamedTuple

_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_BY_ICMP, _BY_ICMP6 = 2, 3
_V4 = {
    (3, 0): "network unreachable",
    (3, 1): "host unreachable",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "packet too large for the path",
    (3, 9): "network prohibited by a firewall",
    (3, 10): "host prohibited by a firewall",
    (3, 13): "prohibited by a firewall",
    (11, 0): "time to live exceeded (a routing loop?)",
}
_V6 = {
    (1, 0): "no route to the destination",
    (1, 1): "prohibited by a firewall",
    (1, 3): "host unreachable",
    (1, 4): "port unreachable",
    (2, 0): "packet too large for the path",
    (3, 0): "hop limit exceeded (a routing loop?)",
}


class Refusal(NamedTuple):
    """An ICMP error for a packet of ours: what it means, who said it, and the MTU that a router would let through.

    `next_mtu` is None unless the packet is too large (RFC 1191, RFC 8201), and 0 where the router does not say.
    """

    words: str
    address: str
    expired: bool
    no_port: bool
    next_mtu: int | None


def read_refusal(extended: bytes) -> Refusal | None:
    """Read a `sock_extended_err` (ip(7)); None for what came by no ICMP message, or is too short to say from whom."""
    if len(extended) < _EXTENDED_ERROR.size:
        return None
    _, origin, type_, code, _, mtu, _ = _EXTENDED_ERROR.unpack_from(extended)
    address = _offender(extended[_EXTENDED_ERROR.size :])
    if origin not in (_BY_ICMP, _BY_ICMP6) or address is None:
        return None
    v6 = origin == _BY_ICMP6
    words = (_V6 if v6 else _V4).get((type_, code), f"refused (ICMP type {type_}, code {code})")
    too_big = (type_, code) == ((2, 0) if v6 else (3, 4))
    return Refusal(
        words,
        address,
        expired=(type_, code) == ((3, 0) if v6 else (11, 0)),
        no_port=(type_, code) == ((1, 4) if v6 else (3, 3)),
        next_mtu=int(mtu) if too_big else None,
    )


def refusal_words(extended: bytes) -> str:
    """Say what the kernel's `sock_extended_err` (ip(7)) and the address behind it mean: `host unreachable, says …`."""
    number, origin, type_, code, _, _, _ = _EXTENDED_ERROR.unpack_from(extended)
    known = _V6 if origin == _BY_ICMP6 else _V4
    words = known.get((type_, code)) or os.strerror(number).lower()
    address = _offender(extended[_EXTENDED_ERROR.size :])
    return words if address is None else f"{words}, says {address}"


def _offender(address: bytes) -> str | None:
    """Return who refused: a `sockaddr_in` or `sockaddr_in6` follows the error."""
    family = int.from_bytes(address[:2], sys.byteorder)
    where = {int(socket.AF_INET): slice(4, 8), int(socket.AF_INET6): slice(8, 24)}.get(family)
    if where is None or len(address) < where.stop:
        return None
    return socket.inet_ntop(family, address[where])

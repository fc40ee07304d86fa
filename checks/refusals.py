"""What a router or host says when it refuses a packet, in words, and who said it: from a socket's error queue."""

from __future__ import annotations

import os
import socket
import struct
import sys

_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_BY_ICMP6 = 3
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


def refusal_words(extended: bytes) -> str:
    """Say what the kernel's `sock_extended_err` (ip(7)) and the address behind it mean: `host unreachable, says …`."""
    number, origin, type_, code, _, _, _ = _EXTENDED_ERROR.unpack_from(extended)
    known = _V6 if origin == _BY_ICMP6 else _V4
    words = known.get((type_, code)) or os.strerror(number).lower()
    return f"{words}{_offender(extended[_EXTENDED_ERROR.size :])}"


def _offender(address: bytes) -> str:
    """Say who refused: a `sockaddr_in` or `sockaddr_in6` follows the error."""
    family = int.from_bytes(address[:2], sys.byteorder)
    where = {int(socket.AF_INET): slice(4, 8), int(socket.AF_INET6): slice(8, 24)}.get(family)
    return f", says {socket.inet_ntop(family, address[where])}" if where else ""

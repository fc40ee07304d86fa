"""Datagrams with all that the kernel knows of them: when they came, how far, how marked, to which of our addresses."""

from __future__ import annotations

import socket
import struct

from checks.timestamps import switch_on_receive

_RECEIVE_BUFFER_BYTES = 4 * 2**20
_LINK_LOCAL = b"\xfe\x80"
_V4 = socket.IPPROTO_IP
_V6 = socket.IPPROTO_IPV6
_IP_TOS, _IP_TTL, _IP_PKTINFO, _IP_RECVTTL, _IP_RECVTOS = 1, 2, 8, 12, 13
_V6_RECVPKTINFO, _V6_PKTINFO, _V6_RECVHOPLIMIT, _V6_HOPLIMIT, _V6_RECVTCLASS, _V6_TCLASS = 49, 50, 51, 52, 66, 67
_INT = struct.Struct("=i")


class ListenError(OSError):
    """An address that cannot be listened on: `str` says why, and which."""


def read_control(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int, list[tuple[int, int, bytes]]]:
    """Return the packet's TTL, its traffic class, and what makes the reply leave from the address it came to.

    By any interface, because routing decides; a link-local address means nothing without its own.
    """
    ttl = traffic_class = 0
    control: list[tuple[int, int, bytes]] = []
    for level, kind, data in ancillary:
        if (level, kind) in ((_V4, _IP_TTL), (_V6, _V6_HOPLIMIT)):
            ttl = _INT.unpack(data)[0]
        elif (level, kind) == (_V4, _IP_TOS):
            traffic_class = data[0]
        elif (level, kind) == (_V6, _V6_TCLASS):
            traffic_class = _INT.unpack(data)[0]
        elif (level, kind) == (_V4, _IP_PKTINFO):
            control.append((level, kind, b"\0\0\0\0" + data[4:]))
        elif (level, kind) == (_V6, _V6_PKTINFO):
            control.append((level, kind, data if data.startswith(_LINK_LOCAL) else data[:16] + b"\0\0\0\0"))
    return ttl, traffic_class, control


def marked(family: socket.AddressFamily, traffic_class: int) -> tuple[int, int, bytes]:
    """Return what makes a datagram leave with a traffic class."""
    level, kind = (_V6, _V6_TCLASS) if family == socket.AF_INET6 else (_V4, _IP_TOS)
    return level, kind, _INT.pack(traffic_class)


def open_socket(family: socket.AddressFamily, where: tuple[object, ...]) -> socket.socket:
    """Bind a socket that is told of each datagram when it came, how far, how marked, and to which address."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
        if family == socket.AF_INET6:
            sock.setsockopt(_V6, socket.IPV6_V6ONLY, 1)
            options = [(_V6, _V6_RECVHOPLIMIT), (_V6, _V6_RECVTCLASS), (_V6, _V6_RECVPKTINFO)]
        else:
            options = [(_V4, _IP_RECVTTL), (_V4, _IP_RECVTOS), (_V4, _IP_PKTINFO)]
        for level, option in options:
            sock.setsockopt(level, option, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        switch_on_receive(sock)
        sock.bind(where)
    except OSError as exc:
        sock.close()
        more = " (ports below 1024 need CAP_NET_BIND_SERVICE)" if isinstance(exc, PermissionError) else ""
        raise ListenError(f"{(exc.strerror or 'not bound').lower()}: {_shown(where)}{more}") from None
    return sock


def _shown(where: tuple[object, ...]) -> str:
    host, port = where[0], where[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"

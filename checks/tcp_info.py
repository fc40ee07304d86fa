"""What the kernel knows of a TCP connection: `TCP_INFO` of Linux (include/uapi/linux/tcp.h), as far as we need it."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

_BYTES = 256
_RTT = struct.Struct("@I")
_RTT_AT, _MIN_RTT_AT, _SENT_AT = 68, 148, 200
_RECEIVED_AT, _SEGMENTS_AT = 128, 136
_SENT = struct.Struct("@QQ")
_RECEIVED = struct.Struct("@Q")
_SEGMENTS = struct.Struct("@II")
_TCP_HEADER_BYTES = 32
_MICROSECOND = 1e-6


class TcpInfo(NamedTuple):
    """Round trips in seconds (smoothed, and the smallest), bytes sent with those sent again, and those alone."""

    rtt_seconds: float
    min_rtt_seconds: float
    bytes_sent: int
    bytes_retransmitted: int
    bytes_received: int
    segments_out: int
    segments_in: int

    def ip_bytes(self, ip_header_bytes: int) -> tuple[int, int]:
        """Return what the connection has sent and received in bytes of the IP layer; every header is taken as usual."""
        header = ip_header_bytes + _TCP_HEADER_BYTES
        return self.bytes_sent + self.segments_out * header, self.bytes_received + self.segments_in * header


def tcp_info(sock: socket.socket | TransportSocket) -> TcpInfo | None:
    """Return what the kernel knows, or None where it is too old (before Linux 4.19) or the socket has gone."""
    try:
        data = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES)
    except OSError:
        return None
    if len(data) < _SENT_AT + _SENT.size:
        return None
    (rtt,), (least,) = _RTT.unpack_from(data, _RTT_AT), _RTT.unpack_from(data, _MIN_RTT_AT)
    return TcpInfo(
        rtt * _MICROSECOND,
        least * _MICROSECOND,
        *_SENT.unpack_from(data, _SENT_AT),
        *_RECEIVED.unpack_from(data, _RECEIVED_AT),
        *_SEGMENTS.unpack_from(data, _SEGMENTS_AT),
    )

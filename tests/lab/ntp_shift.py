"""A time server's answer (RFC 5905) as a server with another clock would have sent it."""

from __future__ import annotations

import struct

_IPV4, _UDP, _NTP_PORT, _NTP_BYTES = b"\x08\x00", 17, 123, 48
_ETHERNET = 14
_SERVER_MODES = (2, 4)
_STAMPS = (16, 32, 40)  # reference, receive, transmit; the origin is the client's own


def shifted(frame: bytes, seconds: float) -> bytes:
    """Return an Ethernet frame with its NTP answer's times moved by `seconds`; any other frame as it is.

    The checksum of UDP is left out, which IPv4 allows.
    """
    header = (frame[_ETHERNET] & 0x0F) * 4 if len(frame) > _ETHERNET else 0
    udp = _ETHERNET + header
    ntp = udp + 8
    if frame[12:_ETHERNET] != _IPV4 or len(frame) < ntp + _NTP_BYTES or frame[_ETHERNET + 9] != _UDP:
        return frame
    if int.from_bytes(frame[udp : udp + 2], "big") != _NTP_PORT or frame[ntp] & 0x07 not in _SERVER_MODES:
        return frame
    changed = bytearray(frame)
    changed[udp + 6 : udp + 8] = b"\0\0"
    for at in _STAMPS:
        (stamp,) = struct.unpack_from("!Q", frame, ntp + at)
        if stamp:
            struct.pack_into("!Q", changed, ntp + at, (stamp + round(seconds * 2**32)) % 2**64)
    return bytes(changed)

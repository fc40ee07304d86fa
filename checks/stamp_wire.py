"""The packets of STAMP (RFC 8762) with their extensions (RFC 8972), read and written. Pure, and for both ends.

A packet is 44 bytes, or 112 with an HMAC, in either direction; extensions (TLVs) follow. Everything read here comes
from strangers: whatever is too short, forged or malformed is a `WireError` with its reason.
"""

from __future__ import annotations

import hmac
import struct
from typing import NamedTuple

PORT = 862
PLAIN_BYTES, AUTHENTICATED_BYTES = 44, 112
HMAC_BYTES = 16
CLASS_OF_SERVICE_BYTES, FOLLOW_UP_BYTES = 4, 16

EXTRA_PADDING, CLASS_OF_SERVICE, FOLLOW_UP, HMAC_TLV = 1, 4, 7, 8
UNRECOGNISED, MALFORMED, INTEGRITY = 0x80, 0x40, 0x20
_LENGTHS = {EXTRA_PADDING: None, CLASS_OF_SERVICE: CLASS_OF_SERVICE_BYTES, FOLLOW_UP: FOLLOW_UP_BYTES, HMAC_TLV: 16}
"""What is understood here, and how long its value must be; None: of any length."""

_NTP_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
_ERA = 2**32
_SECOND = 1_000_000_000
_PTP, _SYNCHRONISED = 0x4000, 0x8000

_PLAIN_REQUEST = struct.Struct("!IQHH28x")
_PLAIN_REPLY = struct.Struct("!IQHHQIQH2xB3x")
_REQUEST = struct.Struct("!I12xQHH68x")
_REPLY = struct.Struct("!I12xQHH4xQ8xI12xQH6xB15x")
_TLV = struct.Struct("!BBH")
_FOLLOW_UP = struct.Struct("!IQB3x")
_BY_SOFTWARE = 2
SEAL_BYTES = _TLV.size + HMAC_BYTES


class WireError(ValueError):
    """Bytes that are not a STAMP packet, or not from whom they should be: `str` says why."""


class Request(NamedTuple):
    """A test packet of the Session-Sender. `stamp` and `error_estimate` are as they stand on the wire."""

    sequence: int
    stamp: int
    error_estimate: int
    ssid: int
    extensions: bytes = b""


class Reply(NamedTuple):
    """A test packet of the Session-Reflector: its own number and instants, and what it read from the request."""

    sequence: int
    left: int
    error_estimate: int
    ssid: int
    received: int
    sender_sequence: int
    sender_stamp: int
    sender_error_estimate: int
    ttl: int
    extensions: bytes = b""


def encode_request(request: Request, key: bytes | None = None) -> bytes:
    """Return a request as bytes; with a key it carries an HMAC."""
    fields = (request.sequence, request.stamp, request.error_estimate, request.ssid)
    if key is None:
        return _PLAIN_REQUEST.pack(*fields) + request.extensions
    return sign(_REQUEST.pack(*fields), key) + request.extensions


def decode_request(data: bytes, key: bytes | None = None) -> Request:
    """Read a request; with a key its HMAC must be right."""
    if key is None:
        if len(data) < PLAIN_BYTES:
            raise WireError(f"{len(data)} bytes are too short: a test packet has {PLAIN_BYTES}")
        return Request._make((*_PLAIN_REQUEST.unpack_from(data), data[PLAIN_BYTES:]))
    verify(data, key)
    return Request._make((*_REQUEST.unpack_from(data), data[AUTHENTICATED_BYTES:]))


def encode_reply(reply: Reply, key: bytes | None = None) -> bytes:
    """Return a reply as bytes; with a key it carries an HMAC."""
    fields = (
        *(reply.sequence, reply.left, reply.error_estimate, reply.ssid, reply.received),
        *(reply.sender_sequence, reply.sender_stamp, reply.sender_error_estimate, reply.ttl),
    )
    if key is None:
        return _PLAIN_REPLY.pack(*fields) + reply.extensions
    return sign(_REPLY.pack(*fields), key) + reply.extensions


def decode_reply(data: bytes, key: bytes | None = None) -> Reply:
    """Read a reply; with a key its HMAC must be right."""
    if key is None:
        if len(data) < PLAIN_BYTES:
            raise WireError(f"{len(data)} bytes are too short: a test packet has {PLAIN_BYTES}")
        return Reply._make((*_PLAIN_REPLY.unpack_from(data), data[PLAIN_BYTES:]))
    verify(data, key)
    return Reply._make((*_REPLY.unpack_from(data), data[AUTHENTICATED_BYTES:]))


def sign(packet: bytes, key: bytes) -> bytes:
    """Append the HMAC-SHA-256 over a packet, cut to 128 bits (RFC 8762, 4.4)."""
    return packet + hmac.digest(key, packet, "sha256")[:HMAC_BYTES]


def verify(data: bytes, key: bytes) -> None:
    """Raise `WireError` unless an authenticated packet is whole and carries the HMAC of `key`."""
    if len(data) < AUTHENTICATED_BYTES:
        raise WireError(f"{len(data)} bytes are too short: an authenticated test packet has {AUTHENTICATED_BYTES}")
    signed = AUTHENTICATED_BYTES - HMAC_BYTES
    if not hmac.compare_digest(
        hmac.digest(key, data[:signed], "sha256")[:HMAC_BYTES], data[signed:AUTHENTICATED_BYTES]
    ):
        raise WireError("the HMAC is wrong: another key, or not from whom it should be")


def ntp_stamp(at: int) -> int:
    """Turn nanoseconds since 1970 into the 64 bits of NTP: seconds since 1900 modulo 2^32, and their fraction."""
    seconds, nanoseconds = divmod(at, _SECOND)
    return ((seconds + _NTP_EPOCH) % _ERA) << 32 | (nanoseconds << 32) // _SECOND


def instant(stamp: int, error_estimate: int, near: int) -> int:
    """Turn a stamp into nanoseconds since 1970, in the form that its error estimate names (NTP, or PTP cut to 64 bits).

    Both count seconds modulo 2^32: the instant returned is the one nearest to `near` (so 2036 is a day like any other).
    """
    high, low = stamp >> 32, stamp & (_ERA - 1)
    if error_estimate & _PTP:
        seconds, nanoseconds = high, low
    else:
        seconds, nanoseconds = high - _NTP_EPOCH, (low * _SECOND + _ERA // 2) >> 32
    eras = round((near // _SECOND - seconds) / _ERA)
    return (seconds + eras * _ERA) * _SECOND + nanoseconds


def error_estimate(seconds: float, *, synchronised: bool) -> int:
    """Return the 16 bits of RFC 4656, 4.1.2: S, Z (0: NTP stamps), scale, multiplier; never 0 and never too small."""
    units, scale = max(1, int(seconds * _ERA) + 1), 0
    while units > 255 and scale < 63:  # noqa: PLR2004  (what 8 and 6 bits hold)
        units, scale = (units + 1) // 2, scale + 1
    return (_SYNCHRONISED if synchronised else 0) | scale << 8 | min(units, 255)


def clock_error(estimate: int) -> float | None:
    """Return the error in seconds that an error estimate claims; None for a clock that is not synchronised."""
    multiplier, scale = estimate & 0xFF, estimate >> 8 & 0x3F
    if not estimate & _SYNCHRONISED or multiplier == 0:  # a multiplier of 0 must not be believed (RFC 4656)
        return None
    return multiplier * 2.0 ** (scale - 32)


def extension(kind: int, value: bytes) -> bytes:
    """Return one extension as a sender writes it: marked unrecognised until a reflector says otherwise."""
    return _TLV.pack(UNRECOGNISED, kind, len(value)) + value


def extensions(data: bytes) -> list[tuple[int, int, bytes]]:
    """Read extensions: flags, kind and value of each; the last is marked malformed if it is cut short."""
    found = []
    at = 0
    while at < len(data):
        if at + _TLV.size > len(data):
            found.append((MALFORMED, 0, data[at:]))
            break
        flags, kind, length = _TLV.unpack_from(data, at)
        at += _TLV.size
        cut = at + length > len(data)
        found.append((flags | MALFORMED if cut else flags, kind, data[at : at + length]))
        at += length
    return found


def answered_extensions(data: bytes) -> dict[int, bytes]:
    """Return what a reflector wrote into the extensions that it understood: kind and value, of the right length."""
    return {
        kind: value
        for flags, kind, value in extensions(data)
        if not flags & (UNRECOGNISED | MALFORMED | INTEGRITY) and _LENGTHS.get(kind) == len(value)
    }


def class_of_service(*, wanted: int, heard: int = 0) -> bytes:
    """Return the value of the Class of Service extension (RFC 8972, 4.4).

    `wanted` is the DSCP (6 bits) that the reply is to carry; `heard` the traffic class (8 bits, ECN last) that arrived.
    """
    return ((wanted & 0x3F) << 26 | (heard & 0xFC) << 18 | (heard & 3) << 18).to_bytes(CLASS_OF_SERVICE_BYTES, "big")


def heard_dscp(value: bytes) -> int:
    """Return the DSCP that arrived at the reflector, from the value of its Class of Service extension."""
    return int.from_bytes(value, "big") >> 20 & 0x3F


def follow_up(sequence: int, stamp: int) -> bytes:
    """Return the value of the Follow-Up Telemetry extension (RFC 8972, 4.7): when the reply before really left."""
    return _FOLLOW_UP.pack(sequence, stamp, _BY_SOFTWARE)


def followed_up(value: bytes) -> tuple[int, int] | None:
    """Return the number of an earlier reply and the stamp of its departure, or None where the reflector had none."""
    sequence, stamp, _ = _FOLLOW_UP.unpack(value)
    return (sequence, stamp) if stamp else None


def seal_extensions(data: bytes, key: bytes, sequence: int, flags: int = UNRECOGNISED) -> bytes:
    """Append the HMAC over a packet's number and its extensions, as authenticated packets that have any must carry.

    RFC 8972, 4.8. The number ties the extensions to their packet: they cannot be moved to another one.
    """
    return data + _TLV.pack(flags, HMAC_TLV, HMAC_BYTES) + _seal(data, key, sequence)


def opened_extensions(data: bytes, key: bytes, sequence: int) -> tuple[bytes, bytes] | None:
    """Return sealed extensions without their seal, and the padding that may follow it; None if it is missing or wrong.

    Nothing but Extra Padding may stand after the seal, and the seal does not cover it (RFC 8972, 4.8).
    """
    at = 0
    while at + SEAL_BYTES <= len(data):
        _, kind, length = _TLV.unpack_from(data, at)
        start = at + _TLV.size
        if kind == HMAC_TLV:
            inner, after = data[:at], data[at + SEAL_BYTES :]
            padded = all(kind == EXTRA_PADDING and not flags & MALFORMED for flags, kind, _ in extensions(after))
            right = length == HMAC_BYTES and padded
            seal = data[start : start + HMAC_BYTES]
            return (inner, after) if right and hmac.compare_digest(_seal(inner, key, sequence), seal) else None
        at = start + length
    return None


def _seal(data: bytes, key: bytes, sequence: int) -> bytes:
    return hmac.digest(key, (sequence & (_ERA - 1)).to_bytes(4, "big") + data, "sha256")[:HMAC_BYTES]


def reflect_extensions(data: bytes, values: dict[int, bytes], *, refused: bool = False) -> bytes:
    """Return extensions as a reflector sends them back: exactly as long as they came (RFC 8972, 4).

    `values` holds what this reflector writes into those it understands. The flags say what it did not recognise and
    what was malformed, cut short or of a length that its kind does not have; from there on bytes go back as they came.
    `refused` is for extensions whose HMAC was wrong: nothing is written into them, and they say so.
    """
    out = bytearray(data)
    at = 0
    while at < len(out):
        if at + _TLV.size > len(out):
            out[at] = MALFORMED
            break
        _, kind, length = _TLV.unpack_from(out, at)
        start = at + _TLV.size
        if start + length > len(out) or _LENGTHS.get(kind) not in (None, length):
            out[at] = MALFORMED
            break
        out[at] = INTEGRITY if refused else 0 if kind in _LENGTHS else UNRECOGNISED
        if kind in values and not refused:
            out[start : start + length] = values[kind]
        at = start + length
    return bytes(out)

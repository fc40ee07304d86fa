"""The 48 bytes of an NTP packet (RFC 5905, 7.3), and the arithmetic on its timestamps, which survives the year 2036."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

PACKET_BYTES = 48
SECOND = 2**32
"""One second in the units of an NTP timestamp."""

_FORMAT = struct.Struct("!BBbbII4sQQQQ")
_ERA = 2**64
_EPOCH_SECONDS = 2_208_988_800  # from 1900 to 1970
_NANOSECONDS = 1_000_000_000
_CLIENT, _SERVER = 3, 4
_VERSION = 4
_OUR_PRECISION_SECONDS = 1e-6  # the kernel's timestamps are finer; that is what system calls around them cost
_FREQUENCY_TOLERANCE = 15e-6  # PHI of RFC 5905: what a clock may drift a second


class WireError(Exception):
    """Bytes that are no answer of an NTP server: `str` says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. The three timestamps are NTP's 64 bits; the rest is in seconds."""

    leap: int
    stratum: int
    precision_seconds: float
    root_delay_seconds: float
    root_dispersion_seconds: float
    reference_id: bytes
    origin: int
    received: int
    sent: int

    @property
    def kiss(self) -> str | None:
        """The code of a kiss-o'-death (RFC 5905, 7.4), if this is one: `RATE`, `DENY` …."""
        code = self.reference_id.decode("ascii", errors="replace")
        return code if self.stratum == 0 and code.isalnum() and code.isupper() else None


@dataclass(frozen=True, slots=True)
class Sample:
    """One exchange: how far the server's clock is ahead of ours, the round trip, and how far off that may be."""

    answer: Answer
    offset_seconds: float
    delay_seconds: float
    dispersion_seconds: float

    @classmethod
    def of(cls, answer: Answer, sent: int, received: int) -> Sample:
        """Compute by RFC 5905, 8, from our own two timestamps in NTP's units.

        Differences are taken modulo an era of 136 years: they are right while the clocks are within 68 of each other.
        """
        there = _signed(answer.received - sent)
        back = _signed(answer.sent - received)
        away = _signed(received - sent) / SECOND
        delay = away - _signed(answer.sent - answer.received) / SECOND
        dispersion = answer.precision_seconds + _OUR_PRECISION_SECONDS + _FREQUENCY_TOLERANCE * max(0.0, away)
        return cls(answer, (there + back) / 2 / SECOND, max(0.0, delay), dispersion)

    @property
    def root_distance_seconds(self) -> float:
        """How far from true time the server's time may be, as seen from here (RFC 5905, 11.2)."""
        root = self.answer.root_delay_seconds / 2 + self.answer.root_dispersion_seconds
        return root + self.delay_seconds / 2 + self.dispersion_seconds


def encode_request(cookie: int) -> bytes:
    """Return a client's packet. In place of our time it carries `cookie`, which the answer must bring back.

    Nothing else is said: a server needs no more, and what nobody can guess, nobody can forge.
    """
    return _FORMAT.pack(_VERSION << 3 | _CLIENT, 0, 0, 0, 0, 0, b"\0\0\0\0", 0, 0, 0, cookie)


def decode(data: bytes) -> Answer:
    """Read a server's packet; what follows the 48 bytes (extensions, a signature) is passed over."""
    if len(data) < PACKET_BYTES:
        raise WireError(f"it has only {len(data)} bytes of {PACKET_BYTES}")
    first, stratum, _, precision, delay, dispersion, reference, _, origin, received, sent = _FORMAT.unpack_from(data)
    version, mode = first >> 3 & 7, first & 7
    if mode != _SERVER:
        raise WireError(f"it is of mode {mode}, not that of a server ({_SERVER})")
    if not 1 <= version <= _VERSION:
        raise WireError(f"it is of version {version}")
    return Answer(
        leap=first >> 6,
        stratum=stratum,
        precision_seconds=math.ldexp(1.0, precision),
        root_delay_seconds=delay / 2**16,
        root_dispersion_seconds=dispersion / 2**16,
        reference_id=reference,
        origin=origin,
        received=received,
        sent=sent,
    )


def timestamp(unix_nanoseconds: int) -> int:
    """Return an instant as NTP writes it: 32 bits of seconds since 1900 (or 2036 …), 32 of fraction."""
    return (_EPOCH_SECONDS * SECOND + (unix_nanoseconds * SECOND + _NANOSECONDS // 2) // _NANOSECONDS) % _ERA


def _signed(difference: int) -> int:
    """Return a difference of timestamps modulo one era, between minus and plus half of it."""
    return (difference + _ERA // 2) % _ERA - _ERA // 2

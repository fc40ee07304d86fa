"""How far this node's clock can be trusted, as the kernel knows it from whatever disciplines it (chrony, PTP).

The error is the kernel's *maximum* (half of the delay to the reference, and all dispersion), not its estimate: a clock
that is set over a line with unlike directions is wrong by half of their difference, and no estimate of its own knows.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from checks import stamp_wire as wire
from checks.check import CheckError

_UNSYNCHRONISED = 0x0040  # STA_UNSYNC
_MAXIMUM_ERROR, _STATUS = 3, 5  # places in `struct timex`, whose first members are a long apart: modes, offset, …
_LONGS = 40  # more than the structure has on any CPU
_MICRO = 1e-6
_TRUSTED_SECONDS, _UNKNOWN_SECONDS = 0.0001, 16.0


@dataclass(frozen=True, slots=True)
class ClockQuality:
    """Whether a clock is kept to UTC by somebody, and by how many seconds it is wrong at most."""

    synchronised: bool
    error_seconds: float


def clock_quality() -> ClockQuality:
    """Ask the kernel (adjtimex(2), which needs no rights to read). `CheckError` where it does not tell."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = (ctypes.c_long * _LONGS)()
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        raise CheckError(f"the kernel does not tell how good the clock is: {os.strerror(ctypes.get_errno())}")
    status = timex[_STATUS] & 0xFFFF  # an int, in a long
    return ClockQuality(not status & _UNSYNCHRONISED, timex[_MAXIMUM_ERROR] * _MICRO)


def stamp_error_estimate(*, trust_clock: bool) -> int:
    """Return what a STAMP packet claims of this node's clock, as RFC 4656, 4.1.2 writes it.

    `trust_clock` claims 0.1 ms, whatever the kernel says of it. A kernel that says nothing vouches for nothing.
    """
    if trust_clock:
        return wire.error_estimate(_TRUSTED_SECONDS, synchronised=True)
    try:
        quality = clock_quality()
    except CheckError:
        quality = ClockQuality(synchronised=False, error_seconds=_UNKNOWN_SECONDS)
    return wire.error_estimate(quality.error_seconds, synchronised=quality.synchronised)

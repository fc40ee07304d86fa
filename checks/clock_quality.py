"""How far this node's clock can be trusted, as the kernel knows it from whatever disciplines it (chrony, PTP)."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from checks.check import CheckError

_UNSYNCHRONISED = 0x0040  # STA_UNSYNC
_ESTIMATED_ERROR, _STATUS = 4, 5  # places in `struct timex`, whose first members are a long apart: modes, offset, …
_LONGS = 40  # more than the structure has on any CPU
_MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class ClockQuality:
    """Whether a clock is kept to UTC by somebody, and its likely error in seconds."""

    synchronised: bool
    error_seconds: float


def clock_quality() -> ClockQuality:
    """Ask the kernel (adjtimex(2), which needs no rights to read). `CheckError` where it does not tell."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = (ctypes.c_long * _LONGS)()
    if libc.adjtimex(ctypes.byref(timex)) < 0:
        raise CheckError(f"the kernel does not tell how good the clock is: {os.strerror(ctypes.get_errno())}")
    status = timex[_STATUS] & 0xFFFF  # an int, in a long
    return ClockQuality(not status & _UNSYNCHRONISED, timex[_ESTIMATED_ERROR] * _MICRO)

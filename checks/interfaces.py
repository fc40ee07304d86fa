"""The counters of a network interface, and which interface an address belongs to."""

from __future__ import annotations

import time
from typing import NamedTuple

import psutil


class Counters(NamedTuple):
    """Bytes received and sent since the interface came up, at a monotonic instant in seconds."""

    at: float
    bytes_in: int
    bytes_out: int


def counters(name: str) -> Counters | None:
    """Return the counters of an interface, or None where it is not there."""
    found = psutil.net_io_counters(pernic=True, nowrap=False).get(name)
    return None if found is None else Counters(time.monotonic(), found.bytes_recv, found.bytes_sent)


def interface_of(address: str) -> str | None:
    """Return the interface that has this address, or None."""
    plain = address.partition("%")[0]
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address.partition("%")[0] == plain for each in addresses):
            return name
    return None

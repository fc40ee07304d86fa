"""The counters of network interfaces, and which interface an address or the default route belongs to."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import NamedTuple

import psutil

_ROUTES = (Path("/proc/net/route"), Path("/proc/net/ipv6_route"))
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NOWHERE = {"00000000", "0" * 32}


class Counters(NamedTuple):
    """Bytes received and sent since the interface came up, at an instant in seconds since the machine started."""

    at: float
    bytes_in: int
    bytes_out: int

    def is_ahead(self, later: Counters) -> bool:
        """Tell whether these have counted more than `later` ones: the counters began anew in between."""
        return self.bytes_in > later.bytes_in or self.bytes_out > later.bytes_out


def counters(name: str) -> Counters | None:
    """Return the counters of an interface, or None where it is not there."""
    found = psutil.net_io_counters(pernic=True, nowrap=False).get(name)
    return (
        None if found is None else Counters(time.clock_gettime(time.CLOCK_BOOTTIME), found.bytes_recv, found.bytes_sent)
    )


def names() -> list[str]:
    """Return the names of all interfaces."""
    return sorted(psutil.net_io_counters(pernic=True, nowrap=False))


def interface_of(address: str) -> str | None:
    """Return the interface that has this address, or None."""
    plain = address.partition("%")[0]
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address.partition("%")[0] == plain for each in addresses):
            return name
    return None


def default_interface() -> str | None:
    """Return the interface of the default route, of IPv4 before IPv6; None where there is none."""
    four, six = (_lines(path) for path in _ROUTES)
    for words in four[1:]:
        if words[1] in _NOWHERE and words[7] in _NOWHERE:
            return words[0]
    for words in six:
        if words[0] in _NOWHERE and words[1] == "00" and words[-1] != "lo":
            return words[-1]
    return None


def boot_id() -> bytes:
    """Return the 16 bytes that name this run of the machine; zeros where it does not tell."""
    try:
        return uuid.UUID(_BOOT.read_text().strip()).bytes
    except (OSError, ValueError):
        return bytes(16)


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines() if len(line.split()) > 7]  # noqa: PLR2004  (columns)
    except OSError:
        return []

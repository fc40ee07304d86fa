"""A network interface and its gateway: what this machine knows of them, and the MACs that it remembers."""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec

from checks.check import CheckError

_ROUTES, _NEIGHBOURS = Path("/proc/net/route"), Path("/proc/net/arp")
_UP_AND_GATEWAY = 0x3
_MOST_ADDRESSES = 8
_MOST_STATE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface with its MAC, its IPv4 addresses (8 at most), its link-local address, its IPv4 gateway."""

    name: str
    mac: str
    addresses: tuple[str, ...]
    link_local: str | None
    gateway: str | None

    @classmethod
    def named(cls, name: str) -> Interface:
        """Return the interface called `name`; `CheckError` where it is not there, not up, or no Ethernet."""
        import psutil  # noqa: PLC0415  (only the child process needs it)

        states, addresses = psutil.net_if_stats(), psutil.net_if_addrs()
        if name not in states:
            raise CheckError(f"this machine has no interface {name!r}; there are: {', '.join(sorted(states))}")
        if not states[name].isup:
            raise CheckError(f"interface {name} is down: nothing can be asked there")
        of_kind = {
            family: [each.address.partition("%")[0] for each in addresses.get(name, ()) if each.family == family]
            for family in (socket.AF_PACKET, socket.AF_INET, socket.AF_INET6)
        }
        mac = next(iter(of_kind[socket.AF_PACKET]), "").lower()
        if len(mac) != len("02:00:00:00:00:01") or not mac.strip("0:"):
            raise CheckError(f"interface {name} is no Ethernet: it has no MAC address")
        link_local = next((each for each in of_kind[socket.AF_INET6] if each.startswith("fe80:")), None)
        return cls(name, mac, tuple(of_kind[socket.AF_INET][:_MOST_ADDRESSES]), link_local, _gateway(name))


def _gateway(interface: str) -> str | None:
    """Return the gateway of the default route through an interface, as the kernel has it."""
    with contextlib.suppress(OSError):
        for line in _ROUTES.read_text(encoding="ascii").splitlines()[1:]:
            name, destination, gateway, flags, *_ = line.split()
            if name == interface and int(destination, 16) == 0 and int(flags, 16) & _UP_AND_GATEWAY == _UP_AND_GATEWAY:
                return socket.inet_ntoa(int(gateway, 16).to_bytes(4, sys.byteorder))
    return None


def known_mac(interface: str, address: str) -> str | None:
    """Return the MAC that this machine's neighbour table has for an address, or None."""
    with contextlib.suppress(OSError):
        for line in _NEIGHBOURS.read_text(encoding="ascii").splitlines()[1:]:
            known, _, flags, mac, _, name = line.split()
            if (known, name) == (address, interface) and int(flags, 16) & 0x2 and mac.strip("0:"):
                return mac
    return None


def remembered(file: Path, interface: str, gateway: str) -> str | None:
    """Return the MAC that the file has for a gateway; None in a new file."""
    return _read(file).get(f"{interface} {gateway}")


def remember(file: Path, interface: str, gateway: str, mac: str) -> None:
    """Write the MAC of a gateway down, whole or not at all."""
    known = {**_read(file), f"{interface} {gateway}": mac}
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=file.name, delete=False) as written:
            written.write(msgspec.json.encode(known))
        Path(written.name).replace(file)
    except OSError as exc:
        raise CheckError(f"state_file {file} cannot be written: {exc.strerror}") from None


def _read(file: Path) -> dict[str, str]:
    try:
        with file.open("rb") as opened:
            return msgspec.json.decode(opened.read(_MOST_STATE_BYTES), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise CheckError(f"state_file {file} cannot be read: {exc.strerror}") from None
    except msgspec.DecodeError:
        raise CheckError(f"state_file {file} holds something else; remove it, or name another file") from None

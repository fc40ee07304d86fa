"""What is wrong on a LAN: addresses used twice, rogue servers and routers, a gateway that changed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import msgspec

from checks.check import CheckError, Noted
from checks.lan_interface import Interface, known_mac, remember, remembered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checks.lan_frames import Asker, Heard

_ROUNDS = 2
_ALL_PROTOCOLS = 0x0003
_OUTGOING = 4
_MOST_FRAMES = 5_000
_SPARE_SECONDS = 4.0
_MOST_NOTES = 20

Allowed = tuple[str, ...]


class LanHygiene(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is allowed on the LAN; who is not judged for want of a list is only counted."""

    name: ClassVar[str] = "lan_hygiene"
    summary: ClassVar[str] = "addresses used twice, rogue DHCP servers and routers, a changed gateway on a LAN"
    target_help: ClassVar[str] = "a network interface: eth0"
    child_process: ClassVar[bool] = True
    metrics: ClassVar[Mapping[str, str]] = {
        "duplicate_addresses": "IPv4 addresses that more than one machine claims, count",
        "dhcp_servers": "DHCP servers that offer an address, count",
        "rogue_dhcp_servers": "those not in allowed_dhcp_servers, count; absent without that list",
        "routers": "IPv6 routers that advertise themselves, count",
        "rogue_routers": "those not in allowed_routers, count; absent without that list",
        "gateway_macs": "machines that claim the gateway's IPv4 address, count; absent without a gateway",
        "gateway_mac_changed": "1 when another machine than before answers as the gateway, else 0",
        "frames_sent": "frames sent, count",
    }
    unreachable: ClassVar[Mapping[str, float]] = {}

    allowed_dhcp_servers: Annotated[
        Allowed | None, msgspec.Meta(description="DHCP servers by IPv4 address or MAC; [] allows none")
    ] = None
    allowed_routers: Annotated[
        Allowed | None, msgspec.Meta(description="IPv6 routers by link-local address or MAC; [] allows none")
    ] = None
    gateway: Annotated[str | None, msgspec.Meta(description="IPv4 gateway; none: that of the default route")] = None
    gateway_mac: Annotated[str | None, msgspec.Meta(description="the gateway's right MAC; none: as before")] = None
    state_file: Annotated[str | None, msgspec.Meta(description="file that remembers gateways' MACs")] = None
    listen_seconds: Annotated[float, msgspec.Meta(ge=0.5, le=60, description="how long to wait for answers")] = 4.0
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=300, description="deadline of the whole check")] = 10.0

    def __post_init__(self) -> None:
        """Refuse a deadline before the answers, and addresses that nobody can have."""
        if self.timeout_seconds < self.listen_seconds + _SPARE_SECONDS:
            raise ValueError(
                f"timeout_seconds ({self.timeout_seconds:g}) must be at least "
                f"{self.listen_seconds + _SPARE_SECONDS:g}: listen_seconds + {_SPARE_SECONDS:g}"
            )
        if self.gateway is not None and not _is_address(socket.AF_INET, self.gateway):
            raise ValueError(f"gateway {self.gateway!r} is not an IPv4 address")
        if self.gateway_mac is not None and not _is_mac(self.gateway_mac):
            raise ValueError(f"gateway_mac {self.gateway_mac!r} is not written 02:00:5e:10:00:01")
        for name, family in (("allowed_dhcp_servers", socket.AF_INET), ("allowed_routers", socket.AF_INET6)):
            for each in getattr(self, name) or ():
                if not (_is_mac(each) or _is_address(family, each)):
                    version = 4 if family == socket.AF_INET else 6
                    raise ValueError(f"{name}: {each!r} is neither an IPv{version} address nor a MAC")

    async def measure(self, target: str) -> dict[str, float]:
        """Ask the LAN behind the interface `target`, and listen; `CheckError` when we may not or cannot."""
        interface = Interface.named(target)
        gateway = self.gateway or interface.gateway
        before = self._known_gateway(interface, gateway)
        from checks.lan_frames import Asker, Heard  # noqa: PLC0415  (scapy: 46 MB, in the child process alone)

        asker = Asker(interface.mac, interface.addresses, interface.link_local, random.getrandbits(32))
        heard = Heard()
        with _packet_socket(target) as sock:
            sent = await self._listen(sock, asker, heard, gateway)
        for address in interface.addresses:
            heard.macs.setdefault(address, set()).add(interface.mac)
        return self._told(interface, heard, gateway, before, sent)

    async def _listen(self, sock: socket.socket, asker: Asker, heard: Heard, gateway: str | None) -> int:
        """Send each round of questions and take in what comes until the time is over; return the frames sent."""
        from checks.lan_frames import LONGEST_FRAME, hear_only_answers, take_in  # noqa: PLC0415  (as above)

        hear_only_answers(sock)
        loop = asyncio.get_running_loop()
        sent = 0
        for round_ in range(_ROUNDS):
            questions = asker.frames(gateway, round_)
            for question in questions:
                await loop.sock_sendall(sock, question)
            sent += len(questions)
            seconds = 1.0 if round_ < _ROUNDS - 1 else self.listen_seconds - 1.0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(max(seconds, 0.25), self.listen_seconds)):
                    while heard.frames < _MOST_FRAMES:
                        frame, address = await loop.sock_recvfrom(sock, LONGEST_FRAME)
                        if address[2] != _OUTGOING:
                            take_in(heard, frame, asker.transaction)
        return sent

    def _known_gateway(self, interface: Interface, gateway: str | None) -> str | None:
        """Return the MAC that the gateway should have: as configured, or remembered, or what this machine believes."""
        if gateway is None or self.gateway_mac is not None:
            return (self.gateway_mac or "").lower() or None
        kept = remembered(Path(self.state_file), interface.name, gateway) if self.state_file else None
        return kept or known_mac(interface.name, gateway)

    def _told(
        self, interface: Interface, heard: Heard, gateway: str | None, before: str | None, sent: int
    ) -> dict[str, float]:
        twice = {address: macs for address, macs in sorted(heard.macs.items()) if len(macs) > 1}
        notes = [f"{address} is used by {' and '.join(sorted(macs))}" for address, macs in twice.items()]
        if heard.frames >= _MOST_FRAMES:
            notes.insert(0, f"the LAN is flooded: what came after {_MOST_FRAMES} frames was not looked at")
        metrics = {"duplicate_addresses": float(len(twice)), "frames_sent": float(sent)}
        for kind, found, allowed in (
            ("dhcp_servers", heard.dhcp_servers, self.allowed_dhcp_servers),
            ("routers", heard.routers, self.allowed_routers),
        ):
            metrics[kind] = float(len(found))
            words = "DHCP server" if kind == "dhcp_servers" else "IPv6 router"
            if allowed is None:
                notes += [f"{words} {address} ({mac})" for address, mac in sorted(found)]
                continue
            rogues = sorted(each for each in found if not _allowed(each, allowed))
            metrics[f"rogue_{kind}"] = float(len(rogues))
            notes += [f"{words} {address} ({mac}) is not allowed here" for address, mac in rogues]
        if gateway is not None:
            macs = heard.macs.get(gateway, set())
            metrics["gateway_macs"] = float(len(macs))
            if before is not None and macs:
                metrics["gateway_mac_changed"] = float(macs != {before})
                if macs != {before}:
                    notes.append(f"the gateway {gateway} was {before}, and now {' and '.join(sorted(macs))} answers")
            if self.state_file and macs:
                remember(Path(self.state_file), interface.name, gateway, min(macs - {before or ""}, default=min(macs)))
        return Noted(metrics, notes[:_MOST_NOTES])


def _packet_socket(interface: str) -> socket.socket:
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    except PermissionError:
        raise CheckError(
            "no permission to speak on the LAN: this process has no CAP_NET_RAW. "
            "In the service's unit: AmbientCapabilities=CAP_NET_RAW"
        ) from None
    except OSError as exc:
        raise CheckError(
            f"cannot open a packet socket: {exc.strerror}. In the service's unit, RestrictAddressFamilies= must hold "
            "AF_PACKET"
        ) from None
    sock.bind((interface, 0))
    sock.setblocking(False)  # noqa: FBT003  (the socket module takes no keyword here)
    return sock


def _allowed(who: Iterable[str], allowed: Allowed) -> bool:
    return bool({each.lower() for each in who} & {each.lower() for each in allowed})


def _is_mac(text: str) -> bool:
    parts = text.split(":")
    return len(parts) == 6 and all(len(part) == 2 and set(part.lower()) <= set("0123456789abcdef") for part in parts)  # noqa: PLR2004  (six pairs)


def _is_address(family: int, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except OSError:
        return False
    return True

"""The largest packet that a path carries whole, and whether it tells of larger ones or swallows them (RFC 8899)."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from checks.address import host_address
from checks.check import CheckError, Noted, Unreachable
from checks.icmp_socket import COOKIE_BYTES, EchoSocket
from checks.path_mtu_search import Search, Volleys

if TYPE_CHECKING:
    from checks.address import Address
    from checks.path_mtu_search import Outcome

_SPARE_SECONDS = 0.25
_LOOKUP_SECONDS = 2.0
_BASE = {socket.AF_INET: 1200, socket.AF_INET6: 1280}  # RFC 8899, 5.1.2
_LEAST = {socket.AF_INET: 576, socket.AF_INET6: 1280}
_MOST = 65_535


class PathMtu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a search."""

    name: ClassVar[str] = "path_mtu"
    summary: ClassVar[str] = "the largest packet that a path carries, and whether larger ones vanish without a word"
    target_help: ClassVar[str] = "a host that answers ICMP echo: 10.92.0.1, fd00::1 or a name"
    metrics: ClassVar[Mapping[str, str]] = {
        "reached": "1 when the destination answers, else 0",
        "path_mtu_bytes": "largest packet that comes back, with its IP header, bytes; a lower bound if time ran out",
        "interface_mtu_bytes": "largest packet that this machine's own interface takes, bytes",
        "black_hole": "1 when larger packets vanish and no router says so (ICMP packet too big), else 0",
        "loss_ratio": "share of the packets of the base size that did not come back, 0 to 1",
        "probes_sent": "packets sent, count",
    }
    unreachable: ClassVar[Mapping[str, float]] = {"reached": 0.0}

    probes: Annotated[int, msgspec.Meta(ge=1, le=10, description="packets of a size, before it counts as lost")] = 3
    packet_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=10, description="after this a packet is lost")] = 1.0
    source: Annotated[str | None, msgspec.Meta(description="local address to send from")] = None
    ip_version: Annotated[Literal[4, 6] | None, msgspec.Meta(description="for a name: 4 or 6 only")] = None
    timeout_seconds: Annotated[float, msgspec.Meta(ge=3, le=300, description="deadline of the whole check")] = 30.0

    async def measure(self, target: str) -> dict[str, float]:
        """Search the path to `target`; `Unreachable` when not even small packets come back."""
        ends_at = asyncio.get_running_loop().time() + self.timeout_seconds - _SPARE_SECONDS
        address = await host_address(target, self.ip_version, min(_LOOKUP_SECONDS, self.timeout_seconds / 2))
        try:
            interface = _interface_mtu(address[0], _own_address(address, self.source))
            volleys = Volleys(address, self.source, self.packet_timeout_seconds, ends_at)
            return await self._found(address[0], interface, volleys)
        except OSError as exc:
            raise Unreachable(f"{(exc.strerror or 'not sent').lower()} (said by this machine)") from None

    async def _found(self, family: int, interface: int, volleys: Volleys) -> dict[str, float]:
        base = min(_BASE[socket.AddressFamily(family)], interface)
        answered: list[Outcome] = []
        slowest = 0.0
        for _ in range(self.probes):
            began = time.monotonic()
            answered += (await volleys.fire([base])).values()
            slowest = max(slowest, time.monotonic() - began)  # of a lost packet all of the patience, so no hurry then
        volleys.hurry(slowest)
        back = sum(each.passed for each in answered)
        metrics = {"interface_mtu_bytes": float(interface), "loss_ratio": 1 - back / self.probes}
        least = base if back else _LEAST[socket.AddressFamily(family)]
        if not back and (least >= base or not await volleys.passes(least, self.probes)):
            refusal = next((each.refusal for each in answered if each.refusal), None)
            words = refusal or f"none of {self.probes} packets of {base} bytes was answered"
            raise Unreachable(words, {**metrics, "probes_sent": float(volleys.sent)})
        search = Search(volleys, least, interface if back else base, self.probes)
        await search.run()
        metrics |= {"reached": 1.0, "path_mtu_bytes": float(search.largest_passing)}
        if search.finished:
            metrics["black_hole"] = float(search.smallest_failing <= interface and search.told_by is None)
        metrics["probes_sent"] = float(volleys.sent)
        return Noted(metrics, search.notes(interface))


def _own_address(address: Address, source: str | None) -> str:
    """Return the address that packets to `address` leave from; `OSError` is no route."""
    with EchoSocket(address, source, COOKIE_BYTES) as echo:
        return echo.source


def _interface_mtu(family: int, own_address: str) -> int:
    """Return the MTU of the interface with this address, bytes. The kernel tells only what it believes of the path."""
    import psutil  # noqa: PLC0415  (an agent that never searches a path need not load it)

    states = psutil.net_if_stats()
    for name, addresses in psutil.net_if_addrs().items():
        for each in addresses:
            if each.family == family and each.address.partition("%")[0] == own_address and name in states:
                return min(states[name].mtu, _MOST)
    raise CheckError(f"no interface of this machine has the address {own_address}, from which packets leave")

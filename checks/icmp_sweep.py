"""ICMP echo to many hosts at once: which of a province's gateways answer, and how fast. For the data centre."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping  # noqa: TC003  (msgspec reads the annotations when it runs)
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from checks.check import CheckError, Unreachable
from checks.packets import SECOND, median
from checks.timestamps import SOURCE_HELP

_MOST_HOSTS = 65_536
_SPARE_SECONDS = 0.5


class IcmpSweep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of a sweep: each host gets one packet a round."""

    name: ClassVar[str] = "icmp_sweep"
    summary: ClassVar[str] = "which of many hosts answer ICMP echo, and how fast: thousands a second, from one socket"
    target_help: ClassVar[str] = "a file (a line: address, and a name for it), a network, or addresses with commas"
    metrics: ClassVar[Mapping[str, str]] = {
        "hosts": "hosts that were asked, count",
        "hosts_answering": "hosts that answered at least once, count",
        "loss_ratio[host]": "share of a host's packets that did not come back in time, 0 to 1",
        "rtt_median_seconds[host]": "median round trip to a host, seconds; absent when it did not answer",
        "timestamp_source": SOURCE_HELP,
    }
    unreachable: ClassVar[Mapping[str, float]] = {"hosts_answering": 0.0}

    count: Annotated[int, msgspec.Meta(ge=1, le=100, description="rounds: packets to each host")] = 3
    packets_per_second: Annotated[float, msgspec.Meta(ge=1, le=1e6, description="pace, over all hosts")] = 2000.0
    payload_bytes: Annotated[int, msgspec.Meta(ge=16, le=1400, description="bytes after the header")] = 16
    packet_timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=60, description="after this a packet is lost")] = 1.0
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=3600, description="deadline of the whole check")] = 30.0

    async def measure(self, target: str) -> dict[str, float]:
        """Sweep over the hosts of `target`; `Unreachable` when none of them answers."""
        hosts = await asyncio.to_thread(read_hosts, target)
        longest = self.count * (len(hosts) / self.packets_per_second + self.packet_timeout_seconds) + _SPARE_SECONDS
        if longest > self.timeout_seconds:
            words = f"{len(hosts)} hosts take up to {longest:.1f} s: raise timeout_seconds or packets_per_second"
            raise CheckError(words)
        metrics: dict[str, float] = {"hosts": float(len(hosts)), "hosts_answering": 0.0}
        sources = []
        for family, version in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
            asked = {str(address): name for address, name in hosts.items() if address.version == version}
            if asked:
                sources.append(await self._sweep(family, asked, metrics))
        if not metrics["hosts_answering"]:
            raise Unreachable(f"none of {len(hosts)} hosts answered", metrics)
        return {**metrics, "timestamp_source": float(min(sources))}

    async def _sweep(self, family: socket.AddressFamily, hosts: Mapping[str, str], metrics: dict[str, float]) -> int:
        from checks.icmp_burst import Burst  # noqa: PLC0415  (ctypes and its buffers: only for who sweeps)

        burst = Burst(list(hosts), family, self.payload_bytes)
        try:
            sweep = await burst.run(self.count, self.packets_per_second, self.packet_timeout_seconds)
        finally:
            burst.close()
        for name, trips in zip(hosts.values(), sweep.round_trips, strict=True):
            answered = sorted(each for each in trips if each is not None)
            metrics[f"loss_ratio[{name}]"] = 1 - len(answered) / len(trips)
            if answered:
                metrics[f"rtt_median_seconds[{name}]"] = median(answered) / SECOND
                metrics["hosts_answering"] += 1
        return sweep.source


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def read_hosts(target: str) -> dict[Address, str]:
    """Return the addresses that a target means, with the name of each; `CheckError` says which line is no address."""
    if "/" in target and not Path(target).exists():
        return _network(target)
    if Path(target).is_file():
        try:
            lines = Path(target).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as exc:
            raise CheckError(f"{target} cannot be read: {exc}") from None
        places = [(f"{target}, line {number}", line.partition("#")[0]) for number, line in enumerate(lines, 1)]
    else:
        places = [("target", part) for part in target.split(",")]
    hosts: dict[Address, str] = {}
    for place, text in places:
        words = text.split()
        if not words:
            continue
        try:
            hosts.setdefault(ipaddress.ip_address(words[0]), words[1] if len(words) > 1 else words[0])
        except ValueError:
            raise CheckError(f"{place}: {words[0]!r} is not an address; write 10.92.0.1, and a name after it") from None
    if not 0 < len(hosts) <= _MOST_HOSTS:
        raise CheckError(f"target names {len(hosts)} hosts; there must be 1 to {_MOST_HOSTS}")
    return hosts


def _network(target: str) -> dict[Address, str]:
    try:
        network = ipaddress.ip_network(target)
    except ValueError:
        raise CheckError(f"target {target!r} is neither a file nor a network; write 10.92.0.0/24") from None
    if network.num_addresses > _MOST_HOSTS:
        raise CheckError(f"target {target} has {network.num_addresses} addresses; {_MOST_HOSTS} is the most")
    return {address: str(address) for address in network.hosts()}

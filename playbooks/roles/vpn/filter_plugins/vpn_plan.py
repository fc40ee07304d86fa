"""Filters of the role vpn: addresses inside the tunnel, and everything that is wrong with a host's part in it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_BYTE = 256
_LEAST_MTU, _MOST_MTU = 1280, 8920


def vpn_address(network: str, of: int | str) -> str:
    """Return an address inside the tunnel: that at a place, or a gateway's, one more than the number of its LAN.

    LANs are numbered by their third byte: in 10.92.254.0/24 the gateway of 10.92.3.0/24 has 10.92.254.4.
    """
    place = of if isinstance(of, int) else int(IPv4Network(of).network_address) // _BYTE % _BYTE + 1
    return str(IPv4Network(network)[place])


def vpn_problems(plan: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a host's variables, a sentence each, beginning with the variable's name.

    `plan` has the role's variables without their prefix, `province_vpn_network`, and `host`.
    """
    return list(_problems(plan))


def _problems(plan: Mapping[str, Any]) -> Iterator[str]:
    network = _network(plan["province_vpn_network"])
    if network is None:
        yield f"province_vpn_network: {plan['province_vpn_network']} is not a network, as 10.92.254.0/24 is"
        return
    for name in ("address", "hub_address"):
        address = _address(plan[name])
        if address is None or address not in list(network.hosts()):
            yield f"vpn_{name}: {plan[name]} is not a host's address in {network}, the province_vpn_network"
    if plan["address"] == plan["hub_address"] and plan["host"] != plan["hub"]:
        yield f"vpn_address: {plan['address']} is that of the hub, {plan['hub']}"
    endpoint = _address(plan["endpoint"])
    if endpoint is None:
        yield f"vpn_endpoint: {plan['endpoint']} is not an IPv4 address"
    for inside in plan["hub_networks"]:
        behind = _network(inside)
        if behind is None:
            yield f"vpn_hub_networks: {inside} is not a network, as 10.92.0.0/24 is"
        elif endpoint is not None and endpoint in behind:
            yield f"vpn_hub_networks: {inside} contains vpn_endpoint, {endpoint}: the tunnel would run inside itself"
    if not _LEAST_MTU <= plan["mtu"] <= _MOST_MTU:
        yield f"vpn_mtu: {plan['mtu']} is not within {_LEAST_MTU} to {_MOST_MTU}"


def _network(text: object) -> IPv4Network | None:
    try:
        return IPv4Network(str(text))
    except ValueError:
        return None


def _address(text: object) -> IPv4Address | None:
    try:
        return IPv4Address(str(text))
    except ValueError:
        return None


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        return {"vpn_address": vpn_address, "vpn_problems": vpn_problems}

"""Filters of the role gateway: addresses counted from a network, and everything that is wrong with a gateway's plan."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, NetmaskValueError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Problems = Iterator[str]

_CLASSES = ("meeting", "one_stop", "other", "bulk")
_LONGEST_NAME = 15  # IFNAMSIZ less its zero
_HIGHEST_CODE_POINT = 63
_ALL_PERCENT = 100
_OUR_KINDS = ("ifb", "tun", "wireguard")  # of interfaces that roles make


def nth_address(network: str, number: int) -> str:
    """Return the address at a place in a network: 1 in 10.92.1.0/24 is 10.92.1.1."""
    return str(IPv4Network(network)[number])


def prefix_length(network: str) -> int:
    """Return the length of a network's prefix."""
    return IPv4Network(network).prefixlen


def gateway_uplink(uplink: Mapping[str, Any]) -> dict[str, str]:
    """Return an uplink as `nhip-uplinks` reads it."""
    address = str(IPv4Interface(uplink["address"]).ip)
    return {"interface": uplink["interface"], "address": address, "via": uplink["via"]}


def gateway_line(uplink: Mapping[str, Any], bits_per_second: int, ratio: float) -> dict[str, Any]:
    """Return an uplink as `nhip-traffic` reads it: what we use of its rate, or of the rate that is common."""
    rates = {f"{way}_bits_per_second": uplink.get(f"{way}_bits_per_second") for way in ("upload", "download")}
    used = {way: int((rate or bits_per_second) * ratio) for way, rate in rates.items()}
    return {"interface": uplink["interface"], **used}


def gateway_problems(plan: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a gateway's variables, a sentence each, beginning with the variable's name.

    `plan` has the role's variables without their prefix, `site_lan`, `data_centre_lan`, what `ip -json address` says
    (`found`), and the address by which Ansible is connected (`connected`; empty when it is none of the host's).
    """
    problems = [*_uplinks(plan), *_lan(plan), *_leases(plan), *_rule(plan), *_traffic(plan)]
    if not problems:  # these look at how sound parts fit together
        problems = [*_overlaps(plan), *_connection(plan)]
    return problems


def _read(kind: type, text: object) -> Any:
    """Return an address, an interface's address or a network; nothing when the text is none."""
    try:
        return kind(str(text))
    except (AddressValueError, NetmaskValueError, ValueError):
        return None


def _interfaces(plan: Mapping[str, Any]) -> list[str]:
    return [link["ifname"] for link in plan["found"] if not _is_ours(link.get("linkinfo", {}))]


def _is_ours(kind: Mapping[str, Any]) -> bool:
    """Tell a tunnel of ours from a line: TAP devices stand for cards where a gateway is a container."""
    return kind.get("info_kind") in _OUR_KINDS and kind.get("info_data", {}).get("type") != "tap"


def _interface(where: str, name: str, plan: Mapping[str, Any]) -> Problems:
    there = [other for other in _interfaces(plan) if other != "lo"]
    if name not in there or len(name) > _LONGEST_NAME:
        yield f"{where}: this host has no interface {name}; it has: {', '.join(there)}"


def _uplinks(plan: Mapping[str, Any]) -> Problems:
    if not plan["uplinks"]:
        yield "gateway_uplinks: is empty; give at least {interface: wan, address: 10.92.240.6/30, via: 10.92.240.5}"
    names = [uplink["interface"] for uplink in plan["uplinks"]]
    for number, uplink in enumerate(plan["uplinks"]):
        where = f"gateway_uplinks[{number}]"
        yield from _interface(f"{where}.interface", uplink["interface"], plan)
        if names.index(uplink["interface"]) < number:
            yield f"{where}.interface: {uplink['interface']} is an uplink already"
        yield from _near_end(where, uplink)
        for way in ("upload", "download"):
            rate = uplink.get(f"{way}_bits_per_second", 1)
            if not isinstance(rate, int) or rate <= 0:
                yield f"{where}.{way}_bits_per_second: {rate} is no rate; write 200000000 for 200 Mbit/s"


def _near_end(where: str, uplink: Mapping[str, Any]) -> Problems:
    """Look at an uplink's own address and at the router it names."""
    own, via = _read(IPv4Interface, uplink["address"]), _read(IPv4Address, uplink["via"])
    if own is None or "/" not in uplink["address"]:
        yield f"{where}.address: {uplink['address']} is not an address with its prefix, as 10.92.240.6/30 is"
    elif not _is_host(own.ip, own.network):
        yield f"{where}.address: {own.ip} is not a host's address in {own.network}"
    elif via is None:
        yield f"{where}.via: {uplink['via']} is not an IPv4 address"
    elif via == own.ip:
        yield f"{where}.via: {via} is the gateway's own address; write that of the carrier's terminal"
    elif not _is_host(via, own.network):
        yield f"{where}.via: {via} is not a host's address in {own.network}, the network of {own}"


def _is_host(address: IPv4Address, network: IPv4Network) -> bool:
    ends = (network.network_address, network.broadcast_address) if network.prefixlen < 31 else ()  # noqa: PLR2004  (RFC 3021)
    return address in network and address not in ends


def _lan(plan: Mapping[str, Any]) -> Problems:
    yield from _interface("gateway_lan_interface", plan["lan_interface"], plan)
    if plan["lan_interface"] in [uplink["interface"] for uplink in plan["uplinks"]]:
        yield f"gateway_lan_interface: {plan['lan_interface']} is an uplink"
    site = _read(IPv4Network, plan["site_lan"])
    if site is None:
        yield f"site_lan: {plan['site_lan']} is not a network, as 10.92.1.0/24 is"
        return
    own = _read(IPv4Interface, plan["lan_address"])
    if own is None or own.network != site or not _is_host(own.ip, site):
        yield f"gateway_lan_address: {plan['lan_address']} is not a host's address with the prefix of site_lan, {site}"
    yield from _range(plan, site, None if own is None else own.ip)


def _range(plan: Mapping[str, Any], site: IPv4Network, own: IPv4Address | None) -> Problems:
    first, last = (_read(IPv4Address, plan["dhcp_range"][end]) for end in ("first", "last"))
    for end, address in (("first", first), ("last", last)):
        if address is None or not _is_host(address, site):
            yield f"gateway_dhcp_range.{end}: {plan['dhcp_range'][end]} is not a host's address in {site}"
            return
    if not first <= last:
        yield f"gateway_dhcp_range: {first} comes after {last}"
    elif own is not None and first <= own <= last:
        yield f"gateway_dhcp_range: {first} to {last} contains {own}, the gateway itself"


def _leases(plan: Mapping[str, Any]) -> Problems:
    site = _read(IPv4Network, plan["site_lan"])
    seen: dict[tuple[str, str], int] = {}
    for number, lease in enumerate(plan["fixed_leases"]):
        where = f"gateway_fixed_leases[{number}]"
        if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", lease["mac"], re.IGNORECASE):
            yield f"{where}.mac: {lease['mac']} is not a hardware address, as 02:92:00:00:00:0b is"
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", lease["name"], re.IGNORECASE):
            yield f"{where}.name: {lease['name']} is not a host name: letters, digits and hyphens"
        address = _read(IPv4Address, lease["address"])
        if site is not None and (address is None or not _is_host(address, site)):
            yield f"{where}.address: {lease['address']} is not a host's address in {site}"
        for part in ("name", "mac", "address"):
            before = seen.setdefault((part, str(lease[part]).lower()), number)
            if before != number:
                yield f"{where}.{part}: {lease[part]} is taken by gateway_fixed_leases[{before}]"


def _rule(plan: Mapping[str, Any]) -> Problems:
    rule = plan["probe_rule"]
    for part, whole in (("fall_lost", "fall_of"), ("rise_answered", "rise_of")):
        if not 1 <= rule[part] <= rule[whole]:
            yield f"gateway_probe_rule.{part}: {rule[part]} is not within 1 to {whole} ({rule[whole]})"
    if len(plan["uplinks"]) > 1 and not plan["probe_targets"]:
        yield "gateway_probe_targets: is empty; two uplinks need something to reach at the data centre"
    for number, target in enumerate(plan["probe_targets"]):
        if _read(IPv4Address, target) is None:
            yield f"gateway_probe_targets[{number}]: {target} is not an IPv4 address"


def _traffic(plan: Mapping[str, Any]) -> Problems:
    shares = plan["traffic_shares"]
    if sorted(shares) != sorted(_CLASSES) or min(shares.values()) < 1 or sum(shares.values()) != _ALL_PERCENT:
        yield f"gateway_traffic_shares: {shares} must give {', '.join(_CLASSES)} at least 1 each, 100 in all"
    checks: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
        ("addresses", lambda value: _read(IPv4Network, value) is not None, "an IPv4 address or network"),
        ("dscp", lambda value: isinstance(value, int) and 0 <= value <= _HIGHEST_CODE_POINT, "a code point, 0 to 63"),
    )
    for part, is_right, right in checks:
        for name, values in plan[f"traffic_{part}"].items():
            if name not in _CLASSES:
                yield f"gateway_traffic_{part}.{name}: there is no such class; there are: {', '.join(_CLASSES)}"
            for value in values:
                if not is_right(value):
                    yield f"gateway_traffic_{part}.{name}: {value} is not {right}"


def _overlaps(plan: Mapping[str, Any]) -> Problems:
    named: Sequence[tuple[str, IPv4Network]] = [
        ("data_centre_lan", IPv4Network(plan["data_centre_lan"])),
        ("site_lan", IPv4Network(plan["site_lan"])),
        *(
            (f"gateway_uplinks[{number}].address", IPv4Interface(uplink["address"]).network)
            for number, uplink in enumerate(plan["uplinks"])
        ),
    ]
    for number, (name, network) in enumerate(named):
        for other, before in named[:number]:
            if network.overlaps(before):
                yield f"{name}: {network} overlaps {before} of {other}"


def _connection(plan: Mapping[str, Any]) -> Problems:
    """Look whether what Ansible is connected by would still be there afterwards."""
    managed = {uplink["interface"]: uplink["address"] for uplink in plan["uplinks"]}
    managed[plan["lan_interface"]] = plan["lan_address"]
    for link in plan["found"]:
        ours = [entry["local"] for entry in link.get("addr_info", ())]
        wanted = managed.get(link["ifname"])
        if plan["connected"] in ours and wanted and str(IPv4Interface(wanted).ip) != plan["connected"]:
            yield (
                f"gateway_uplinks: this host is reached at {plan['connected']} on {link['ifname']}, and the plan gives "
                f"that {wanted}, which would cut the connection: correct the plan, or add the new address by hand and "
                "connect by it"
            )


class FilterModule:
    """What Ansible asks a file of filters for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by name."""
        offered = (nth_address, prefix_length, gateway_uplink, gateway_line, gateway_problems)
        return {each.__name__: each for each in offered}

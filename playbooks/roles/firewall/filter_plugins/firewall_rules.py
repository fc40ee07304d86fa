"""Openings, as roles declare them, to rules of nftables; nothing is touched before every opening is understood."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any

from ansible.errors import AnsibleFilterError

Opening = dict[str, Any]
Networks = dict[str, list[str]]

_KEYS = ("from", "to", "interface", "out_interface", "protocol", "port", "comment")
_ECHO = {"icmp": "icmp type echo-request", "icmpv6": "icmpv6 type echo-request"}
_PORTS = ("tcp", "udp")
_FAMILIES = {4: "ip", 6: "ip6"}
_ONLY_FAMILY = {"icmp": 4, "icmpv6": 6}


def firewall_problems(openings: list[Opening], networks: Networks) -> list[str]:
    """Return everything that is wrong with the openings and the networks that they name, each with its opening."""
    found = [f"firewall_networks.{name}: {address!r} is no network" for name, address in _wrong_addresses(networks)]
    for opening in openings:
        found += [f"{opening.get('comment') or opening}: {words}" for words in _wrong(opening, networks)]
    return found


def firewall_sets(networks: Networks) -> list[dict[str, Any]]:
    """Return the named sets, two of each network: `management` for IPv4, `management6` for IPv6; empty ones too."""
    return [
        {"name": _set_name(name, family), "type": f"ipv{family}_addr", "elements": _of_family(networks[name], family)}
        for name in sorted(networks)
        for family in _FAMILIES
    ]


def firewall_rules(openings: list[Opening], networks: Networks) -> list[str]:
    """Return one rule for each way that an opening can match; each counts and says what it is for."""
    if problems := firewall_problems(openings, networks):
        raise AnsibleFilterError("; ".join(problems))
    return [rule for opening in openings for rule in _rules(opening, networks)]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "firewall_problems": firewall_problems,
            "firewall_sets": firewall_sets,
            "firewall_rules": firewall_rules,
        }


def _rules(opening: Opening, networks: Networks) -> list[str]:
    interfaces = [
        f'{key} "{opening[name]}"'
        for key, name in (("iifname", "interface"), ("oifname", "out_interface"))
        if opening.get(name)
    ]
    services = [_service(protocol, opening) for protocol in _listed(opening.get("protocol"))] or [""]
    rules = []
    for (family, addresses), service in product(_addresses(opening, networks), services):
        only = _ONLY_FAMILY.get(service.partition(" ")[0])
        if only in (None, family) or family is None:
            words = [*interfaces, *addresses, service, f'counter accept comment "{opening["comment"]}"']
            rules.append(" ".join(filter(None, words)))
    return rules


def _addresses(opening: Opening, networks: Networks) -> list[tuple[int | None, list[str]]]:
    """Return the matches of source and destination, for each family that both have; no family means both."""
    ends = [(key, _listed(opening.get(name))) for key, name in (("saddr", "from"), ("daddr", "to"))]
    ends = [(key, names) for key, names in ends if names]
    if not ends:
        return [(None, [])]
    found: list[tuple[int | None, list[str]]] = []
    for family, word in _FAMILIES.items():
        choices = [[f"{word} {key} {match}" for match in _matches(names, networks, family)] for key, names in ends]
        found += [(family, list(choice)) for choice in product(*choices)]
    return found


def _matches(names: list[str], networks: Networks, family: int) -> list[str]:
    literal = _of_family([name for name in names if name not in networks], family)
    named = [f"@{_set_name(name, family)}" for name in names if name in networks]
    return named + ([f"{{ {', '.join(literal)} }}"] if literal else [])


def _service(protocol: str, opening: Opening) -> str:
    ports = [str(port) for port in _listed(opening.get("port"))]
    if protocol in _PORTS:
        return f"{protocol} dport {ports[0] if len(ports) == 1 else '{ ' + ', '.join(ports) + ' }'}"
    return _ECHO[protocol]


def _wrong(opening: Opening, networks: Networks) -> list[str]:
    found = [f"unknown key {key!r}; known are {', '.join(_KEYS)}" for key in opening if key not in _KEYS]
    # No address at all means anybody, and a list that an inventory emptied must not.
    found += [
        f"{end} is empty, which opens it to nobody: leave the opening out"
        for end in ("from", "to")
        if opening.get(end) == []
    ]
    comment = opening.get("comment")
    if not (isinstance(comment, str) and comment and '"' not in comment and len(comment.encode()) <= 120):  # noqa: PLR2004  (nftables takes 127 bytes)
        found.append("comment has to say in at most 120 bytes, without double quotes, what it is for")
    protocols, ports = _listed(opening.get("protocol")), _listed(opening.get("port"))
    found += [
        f"protocol {word!r} is none of {', '.join((*_PORTS, *_ECHO))}"
        for word in protocols
        if word not in (*_PORTS, *_ECHO)
    ]
    if bool(ports) != any(protocol in _PORTS for protocol in protocols):
        found.append("protocol tcp or udp and port belong together")
    found += [
        f"port {port!r} is neither 1 to 65535 nor a range such as 5000-5010" for port in ports if not _is_port(port)
    ]
    for name in (*_listed(opening.get("from")), *_listed(opening.get("to"))):
        if name not in networks and not _is_network(name):
            found.append(f"{name!r} is neither an address nor one of firewall_networks ({', '.join(sorted(networks))})")
    return found


def _wrong_addresses(networks: Networks) -> list[tuple[str, str]]:
    return [(name, address) for name in networks for address in networks[name] if not _is_network(address)]


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def _is_network(value: object) -> bool:
    try:
        ip_network(str(value))
    except ValueError:
        return False
    return True


def _is_port(value: object) -> bool:
    first, _, last = str(value).partition("-")
    ends = (first, last or first)
    return all(end.isdecimal() and 1 <= int(end) <= 65535 for end in ends) and int(ends[0]) <= int(ends[1])  # noqa: PLR2004  (16 bits)


def _of_family(addresses: list[str], family: int) -> list[str]:
    return [address for address in addresses if ip_address(address.partition("/")[0]).version == family]


def _set_name(name: str, family: int) -> str:
    return name if family == 4 else f"{name}6"  # noqa: PLR2004  (IPv4)

"""What is looked at, from outside and from inside, for one site of an inventory. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from inventory.topology import GATEWAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from agents.diagnose.finding import Probe
    from inventory.topology import Inventory, Node, Site

_TRAIN = {"count": 10, "interval_seconds": 0.05, "packet_timeout_seconds": 0.6, "timeout_seconds": 2.0}
_WITNESSES = 3
_HOSTS = 4
_SERVICE_SECONDS = 2.5
_REFLECTOR = 862


class Look(NamedTuple):
    """One measurement: what it is about, and which check of which target it is."""

    probe: Probe
    check: str
    target: str
    parameters: Mapping[str, Any]
    about: str = ""
    line: int = 0


class Sides(NamedTuple):
    """Everything to look at: from here, and from the site's gateway, where one can log in."""

    outside: list[Look]
    services: list[Look]
    """From here as well, but they take longer."""
    inside: list[Look]
    gateway: Node | None
    upstream: str
    """What people call it."""


def sides_of(inventory: Inventory, site: Site, services: Sequence[str] = ()) -> Sides:
    """Return what to look at; `services` are the ones that matter, all of them where none is named."""
    names = {upstream.upstream: upstream.name for upstream in inventory.upstreams}
    gateway = next((node for node in site.nodes if node.kind == GATEWAY), None)
    wanted = [each for each in inventory.services if not services or each.service in services]
    asked = [
        Look("service", check.check, check.target, _quick(check.parameters), each.name or each.service)
        for each in wanted
        for check in each.checks[:1]
    ]
    return Sides(
        list(_outside(inventory, site)),
        asked,
        list(_inside(site, asked)),
        gateway,
        names.get(site.upstream, site.upstream),
    )


def _outside(inventory: Inventory, site: Site) -> Iterator[Look]:
    router, address = (_variable(site, name) for name in ("data_centre_router", "data_centre_address"))
    if router:
        yield _echo("router", router)
    for line, carrier in enumerate(_carriers(site)):
        if carrier:
            yield _echo("carrier", carrier, line=line)
    for line, gateway in enumerate(site.addresses):
        yield _echo("gateway", gateway, line=line)
    for node in _hosts(site):
        yield _echo("lan", node.address, about=node.node)
    yield from _witnesses(inventory, site)
    if address:
        quick = {"count": 5, "interval_seconds": 0.05, "packet_timeout_seconds": 0.6, "timeout_seconds": 2.0}
        yield Look("reflector", "stamp", f"{address}:{_REFLECTOR}", quick)


def _witnesses(inventory: Inventory, site: Site) -> Iterator[Look]:
    """Yield some sites behind the same upstream and some behind others: they part the line from the upstream."""
    others = [each for each in inventory.sites if each.site != site.site and each.addresses and each.upstream]
    same = [each for each in others if each.upstream == site.upstream][:_WITNESSES]
    seen: set[str] = {site.upstream}
    elsewhere = []
    for each in others:
        if each.upstream not in seen:  # one of each: if none of those answers, it is none of them
            seen.add(each.upstream)
            elsewhere.append(each)
    for each in same:
        yield _echo("neighbour", each.addresses[0], about=each.name)
    for each in elsewhere[:_WITNESSES]:
        yield _echo("elsewhere", each.addresses[0], about=each.name)


def _inside(site: Site, services: list[Look]) -> Iterator[Look]:
    address = _variable(site, "data_centre_address")
    yield Look("agent", "unit_state", "nhip-agent.service", {"timeout_seconds": 2.0})
    if address:
        yield _echo("inside_line", address)
    for node in _hosts(site):
        yield _echo("inside_lan", node.address, about=node.node)
    for look in services:
        yield look._replace(probe="inside_service")


def _hosts(site: Site) -> list[Node]:
    return [node for node in site.nodes if node.kind != GATEWAY and node.address][:_HOSTS]


def _carriers(site: Site) -> list[str]:
    """Return the carrier's address at each line, as the gateway's uplinks name them."""
    uplinks = site.variables.get("gateway_uplinks")
    listed = uplinks.value if uplinks is not None and isinstance(uplinks.value, list) else []
    return [str(each.get("via", "")) if isinstance(each, dict) else "" for each in listed]


def _variable(site: Site, name: str) -> str:
    given = site.variables.get(name)
    return str(given.value) if given is not None and isinstance(given.value, str) else ""


def _quick(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a service's parameters, with a deadline that a diagnosis can wait for; a file may not be here."""
    return {**parameters, "timeout_seconds": min(parameters.get("timeout_seconds", 10), _SERVICE_SECONDS)}


def _echo(probe: Probe, target: str, about: str = "", line: int = 0) -> Look:
    return Look(probe, "icmp_echo", target, _TRAIN, about, line)


def plan_of(looks: Sequence[Look]) -> bytes:
    """Return looks as a plan that `nhip check run --plan -` reads; each id is the look's number."""
    return msgspec.json.encode(
        [
            {"id": str(number), "check": look.check, "target": look.target, "with": dict(look.parameters)}
            for number, look in enumerate(looks)
        ]
    )

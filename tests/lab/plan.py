"""The virtual province on paper: from an inventory to machines, switches, routers, lines and routes. Nothing here acts.

A *space* is a network namespace: one for each host, switch of a site's LAN and router of the carrier's, and two at the
data centre: `router`, and `control`, where Ansible runs.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.lab.tree import Group, Tree

if TYPE_CHECKING:
    from collections.abc import Collection
    from collections.abc import Set as AbstractSet
    from pathlib import Path

ROUTER, CONTROL, UPLINK, ONE_STOP = "router", "control", "uplink", "one-stop"
_NEEDED = ("data_centre_lan", "data_centre_router", "data_centre_control", "data_centre_one_stop", "province_domain")
_BACKBONE = ipaddress.ip_network("100.64.0.0/16")  # the carrier's own links: shared address space (RFC 6598)


class PlanError(ValueError):
    """The inventory does not make a province that can be built; says what is missing where."""


@dataclass(frozen=True)
class Port:
    """A network device of a host: plugged into a switch, or a line's lower end."""

    device: str
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    switch: str = ""
    line: str = ""


@dataclass(frozen=True)
class Host:
    """A machine that boots."""

    name: str
    site: str
    kind: str
    address: str
    ports: tuple[Port, ...]


@dataclass(frozen=True)
class Line:
    """A line: the upper end in a router of the carrier's (or the data centre's), the lower in a gateway or router."""

    name: str
    kind: str
    upper: str
    upper_device: str
    upper_address: str
    lower: str
    lower_device: str
    lower_address: str = ""


@dataclass(frozen=True)
class Way:
    """How a network is reached over a line: the line, and the next hop at its lower end."""

    line: str
    via: str


@dataclass(frozen=True)
class Plan:
    """Everything that is to be made."""

    hosts: tuple[Host, ...]
    lines: tuple[Line, ...]
    switches: tuple[str, ...]
    routers: tuple[str, ...]
    lans: dict[str, tuple[str, tuple[Way, ...]]]
    site_names: dict[str, str]
    control_address: str
    router_address: str
    one_stop: Port
    domain: str

    @property
    def resolver(self) -> str:
        """The address of the name server that everybody asks: the last of the city's machine."""
        return self.one_stop.addresses[-1].partition("/")[0] if self.one_stop.addresses else ""

    def host(self, name: str) -> Host:
        """Return a host by its name."""
        return next(host for host in self.hosts if host.name == name)

    def line(self, name: str) -> Line:
        """Return a line by its name."""
        return next(line for line in self.lines if line.name == name)

    def line_above(self, space: str) -> Line | None:
        """Return the line by which a router of the carrier's hangs on what is above it."""
        return next((line for line in self.lines if line.lower == space and line.kind != "access"), None)

    def routes(self, broken: AbstractSet[str]) -> dict[str, dict[str, str]]:
        """Return each router's routes (network to next hop), with the lines in `broken` out of use.

        It stands for the carrier's routing protocol: a site with two lines is reached by the first that is whole all
        the way up, and by its first line if none is.
        """
        table: dict[str, dict[str, str]] = {name: {} for name in (ROUTER, *self.routers)}
        for name in self.routers:
            above = self.line_above(name)
            if above:
                table[name]["default"] = _host_part(above.upper_address)
        for lan, ways in self.lans.values():
            whole = [way for way in ways if not broken & {line.name for line in self._up_from(way.line)}]
            way = (whole or ways)[0]
            table[self.line(way.line).upper][lan] = way.via
            self._lead_down(table, lan, self.line(way.line))
        for line in self.lines:
            self._lead_down(table, str(ipaddress.ip_interface(line.upper_address).network), line)
        return table

    def _lead_down(self, table: dict[str, dict[str, str]], network: str, line: Line) -> None:
        """Let every router above a line's upper end send what is for `network` down to it."""
        for above in self._up_from(line.name)[1:]:
            table[above.upper][network] = _host_part(above.lower_address)

    def _up_from(self, name: str) -> list[Line]:
        path = [self.line(name)]
        while (above := self.line_above(path[-1].upper)) is not None:
            path.append(above)
        return path


def _host_part(interface: str) -> str:
    return interface.partition("/")[0]


def mac(space: str, device: str) -> str:
    """Return the address that a device keeps, however often its host is switched off and on."""
    digest = hashlib.sha256(f"{space}/{device}".encode()).digest()
    return "02:92:" + ":".join(f"{byte:02x}" for byte in digest[:4])


class _Maker:
    """Puts a plan together while it goes through an inventory."""

    def __init__(self, tree: Tree, only: Collection[str]) -> None:
        self.tree = tree
        self.only = set(only)
        self.hosts: list[Host] = []
        self.lines: list[Line] = []
        self.switches: list[str] = []
        self.lans: dict[str, tuple[str, tuple[Way, ...]]] = {}
        self.names: dict[str, str] = {}
        self._backbone = _BACKBONE.subnets(new_prefix=30)

    def make(self) -> Plan:
        groups = self.tree.groups.values()
        upstreams = [group for group in groups if "upstream_name" in group.variables]
        for group in upstreams:
            self._upstream(group)
        sites = [group for group in groups if group.variables.get("site")]
        unknown = self.only - {str(group.variables["site"]) for group in sites}
        if unknown:
            known = ", ".join(sorted(str(group.variables["site"]) for group in sites))
            raise PlanError(f"no site {', '.join(sorted(unknown))} in the inventory; there are: {known}")
        for group in sites:
            if not self.only or group.variables["site"] in self.only:
                self._site(group, {each.name for each in upstreams})
        get = self.tree.variable
        missing = [name for name in _NEEDED if not get(name)]
        if missing:
            raise PlanError(f"{self.tree.folder}: no file of group_vars/all/ says {', '.join(missing)}")
        lan = ipaddress.ip_network(get("data_centre_lan"))
        return Plan(
            hosts=tuple(self.hosts), lines=tuple(self.lines), switches=tuple(self.switches),
            routers=tuple(group.name for group in upstreams), lans=self.lans, site_names=self.names,
            control_address=f"{get('data_centre_control')}/{lan.prefixlen}",
            router_address=f"{get('data_centre_router')}/{lan.prefixlen}",
            one_stop=self._one_stop(lan.prefixlen), domain=get("province_domain"),
        )  # fmt: skip

    def _one_stop(self, length: int) -> Port:
        """Plan the machine of the city's own services: the one-stop system and, where it has an address, its DNS."""
        own = (self.tree.variable("data_centre_one_stop"), self.tree.variable("data_centre_dns"))
        taken = {host.address for host in self.hosts}
        addresses = dict.fromkeys(f"{each}/{length}" for each in own if each and each not in taken)
        return Port("eth0", tuple(addresses), str(self.tree.variable("data_centre_router")), switch=ROUTER)

    def _upstream(self, group: Group) -> None:
        parent = group.parent if group.parent != "all" else ""
        upper, lower = (str(ipaddress.ip_interface(f"{a}/30")) for a in next(self._backbone).hosts())
        # The top of the tree hangs on the data centre, by the data centre's own uplink.
        name = UPLINK if not self.lines else group.name
        self.lines.append(
            Line(name, "backbone" if parent else "data_centre", parent or ROUTER, f"to-{len(self.lines)}", upper,
                 group.name, "up", lower)
        )  # fmt: skip

    def _site(self, group: Group, upstreams: set[str]) -> None:
        site = str(group.variables["site"])
        self.names[site] = str(self.tree.value(group.variables.get("site_name", site)))
        lan = str(self.tree.value(group.variables["site_lan"]))
        is_centre = group.parent not in upstreams
        switch = ROUTER if is_centre else f"switch-{site}"
        if not is_centre:
            self.switches.append(switch)
        ways: list[Way] = []
        for name, own in group.hosts.items():
            variables = {key: self.tree.value(value) for key, value in {**group.variables, **own}.items()}
            address = str(variables.get("ansible_host", ""))
            if variables.get("kind") == "gateway":
                ports = self._gateway(name, site, group, variables, switch, ways)
            else:
                ports = self._inside(address, lan, switch, is_centre=is_centre)
            self.hosts.append(Host(name, site, str(variables.get("kind", "")), address, tuple(ports)))
        if not is_centre:
            if not ways:
                raise PlanError(f"site {site} has no host of kind 'gateway' with gateway_uplinks")
            self.lans[site] = (lan, tuple(ways))

    def _gateway(
        self, name: str, site: str, group: Group, variables: dict[str, Any], switch: str, ways: list[Way]
    ) -> list[Port]:
        ports = [Port("lan", switch=switch)]
        above = [group.parent, variables.get("site_second_upstream", "")]
        for number, uplink in enumerate(variables.get("gateway_uplinks") or []):
            if number >= len(above) or above[number] not in self.tree.groups:
                raise PlanError(f"{name}: gateway_uplinks[{number}] needs an upstream: site_second_upstream is missing")
            line = site if number == 0 else f"{site}-{number + 1}"
            address, via = self.tree.value(uplink["address"]), self.tree.value(uplink["via"])
            length = ipaddress.ip_interface(address).network.prefixlen
            self.lines.append(
                Line(line, "access", above[number], f"to-{line}", f"{via}/{length}", name, uplink["interface"])
            )
            # The technician sets up the first line at the site; the second one is a matter of the playbooks.
            first = number == 0
            ports.append(Port(uplink["interface"], (address,) if first else (), via if first else "", line=line))
            ways.append(Way(line, _host_part(address)))
        return ports

    def _inside(self, address: str, lan: str, switch: str, *, is_centre: bool) -> list[Port]:
        network = ipaddress.ip_network(lan)
        gateway = self.tree.variable("data_centre_router") if is_centre else str(network[1])
        return [Port("eth0", (f"{address}/{network.prefixlen}",), str(gateway), switch=switch)]


def make_plan(inventory: Path, only: Collection[str] = ()) -> Plan:
    """Make the plan of an inventory's province, or of some of its sites alone (all upstreams stay).

    Raises PlanError where the inventory has not what it takes.
    """
    if not inventory.is_dir():
        raise PlanError(f"{inventory} is no folder: an inventory is one")
    try:
        return _Maker(Tree(inventory), only).make()
    except PlanError:
        raise
    except (yaml.YAMLError, ValueError, KeyError, TypeError, OSError) as exc:
        hint = f".venv/bin/nhip inventory check {inventory}"
        raise PlanError(f"{inventory} makes no province: {exc}\nwhat is wrong with it says: {hint}") from exc

"""What an inventory says about a province: upstreams, sites, nodes, services and limits. What the collector reads.

The group tree is the tree of upstreams. A group with an `upstream_name` is an upstream; a group with a `site` of its
own is a site, and hangs on the upstream that it is nested in. Hosts of a site are its nodes.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from checks.limits import Limit
from checks.strict import ConfigError, build
from inventory.baseline import read_baseline
from inventory.places import Given, Place, located
from inventory.tree import read_tree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inventory.baseline import Baseline
    from inventory.places import Problems
    from inventory.tree import Group, Tree

GATEWAY = "gateway"
KINDS = (GATEWAY, "workstation", "data_centre_host")
_REFERENCE = re.compile(r"\{\{\s*([a-z_][a-z0-9_]*)\s*\}\}")
_DEEPEST = 5  # a name that stands for a name that stands for …
T = TypeVar("T")


class ServiceCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each site's agent asks of a service: an entry of `agent.yml`."""

    check: str
    target: str = ""
    interval_seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)]
    parameters: dict[str, Any] = msgspec.field(name="with", default_factory=dict)


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something people use."""

    service: Annotated[str, msgspec.Meta(min_length=1)]
    name: str = ""
    url: str = ""
    checks: list[ServiceCheck] = []
    targets: list[str] = []
    shared: bool = True  # every site sees the same one, at the data centre; false where each has its own

    @property
    def all_targets(self) -> list[str]:
        """Return each target that is about the service, once: those of its checks, and the others."""
        return list(dict.fromkeys([*(check.target for check in self.checks if check.target), *self.targets]))


@dataclass(frozen=True, slots=True)
class Upstream:
    """What lines of several sites pass on their way; `parent` is what it hangs on itself, "" at the top."""

    upstream: str
    name: str
    parent: str
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Node:
    """A machine at a site, and the address at which it is reached."""

    node: str
    site: str
    kind: str
    address: str
    place: Place = field(compare=False)


@dataclass(frozen=True, slots=True)
class Site:
    """A place with a line to the data centre. `addresses` are its gateway's, one a line."""

    site: str
    name: str
    group: str
    upstream: str
    second_upstream: str
    lan: str
    addresses: tuple[str, ...]
    nodes: tuple[Node, ...]
    limits: tuple[Limit, ...]
    place: Place = field(compare=False)
    population: int = 0
    """How many people it serves; 0 where nobody says."""
    variables: Mapping[str, Given] = field(default_factory=dict, compare=False, repr=False)
    """What holds at its gateway, as written: `resolve` puts values for the names in it."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """A whole province."""

    province: str
    province_name: str
    upstreams: tuple[Upstream, ...]
    sites: tuple[Site, ...]
    services: tuple[Service, ...]
    limits: tuple[Limit, ...]
    baseline: Mapping[str, Baseline] = field(default_factory=dict)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every machine."""
        return tuple(node for site in self.sites for node in site.nodes)


def read(folder: Path) -> Inventory:
    """Read an inventory's folder; `ConfigError` lists every problem in it, each with file and line."""
    if not folder.is_dir():
        raise ConfigError([("$", "is no folder: an inventory is one, `nhip inventory new` makes it")], str(folder))
    tree = read_tree(folder)
    problems = list(tree.problems)
    inventory = survey(tree, problems)
    if problems:
        raise located(folder, sorted(set(problems), key=_by_place))
    return inventory


def survey(tree: Tree, problems: Problems) -> Inventory:
    """Return what can be read of a tree; `problems` takes what cannot."""
    every = tree.groups["all"].variables
    upstreams = [
        _upstream(tree, group, problems) for group in tree.groups.values() if "upstream_name" in group.variables
    ]
    names = {upstream.upstream for upstream in upstreams}
    sites = [_site(tree, group, names, problems) for group in tree.groups.values() if "site" in group.variables]
    _refuse_repeated_sites(sites, problems)
    _refuse_repeated_addresses(sites, problems)
    baseline = read_baseline(tree.folder, problems)
    owned = {node.node for site in sites for node in site.nodes}
    problems += [
        (str(host.place), f"{name} is in no site: put it below the `hosts` of a group that has a `site`")
        for name, host in tree.hosts.items()
        if name not in owned
    ]
    return Inventory(
        province=_text(every, "province", problems),
        province_name=_text(every, "province_name", problems),
        upstreams=tuple(upstreams),
        sites=tuple(sites),
        services=tuple(_built(list[Service], every.get("services"), every, problems)),
        limits=tuple(_built(list[Limit], every.get("limits"), every, problems)),
        baseline=baseline,
    )


def resolve(value: Any, variables: dict[str, Given], depth: int = 0) -> Any:
    """Return `value` with each `{{ name }}` in it replaced by that variable. `LookupError` names one that is not there.

    Only plain names: what needs more of Ansible's language than that is for playbooks alone.
    """
    if isinstance(value, dict):
        return {key: resolve(item, variables, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve(item, variables, depth) for item in value]
    if not isinstance(value, str) or "{{" not in value:
        return value
    if depth > _DEEPEST:
        raise LookupError(f"{value!r} leads back to itself")
    names = _REFERENCE.findall(value)
    for name in names:
        if name not in variables:
            raise LookupError(f"there is no variable {name!r}")
    if len(names) != value.count("{{"):
        raise LookupError(f"{value!r} has more than a plain name between the braces, which only Ansible understands")
    if _REFERENCE.fullmatch(value.strip()):
        return resolve(variables[names[0]].value, variables, depth + 1)
    filled = _REFERENCE.sub(lambda found: str(variables[found[1]].value), value)
    return resolve(filled, variables, depth + 1)


def _upstream(tree: Tree, group: Group, problems: Problems) -> Upstream:
    name = _text(group.variables, "upstream_name", problems)
    return Upstream(group.name, name, _nearest(tree, group, problems), group.place)


def _nearest(tree: Tree, group: Group, problems: Problems) -> str:
    """Return the upstream that a group is nested in; "" where it is in none."""
    above = [name for name in group.parents if "upstream_name" in tree.groups[name].variables]
    if len(above) > 1:
        words = f"{group.name} hangs on {' and '.join(above)}: nest it in one; a second line is `site_second_upstream`"
        problems.append((str(group.parents[above[1]]), words))
    return above[0] if above else ""


def _site(tree: Tree, group: Group, upstreams: set[str], problems: Problems) -> Site:
    variables = group.variables
    site = _text(variables, "site", problems)
    second = variables.get("site_second_upstream")
    upstream = _nearest(tree, group, problems)
    if second is not None and second.value not in upstreams:
        words = f"there is no upstream {second.value!r}; there are: {', '.join(sorted(upstreams)) or 'none'}"
        problems.append((str(second.place), words))
    elif second is not None and second.value == upstream:
        problems.append(
            (str(second.place), f"{upstream!r} is the first one too: such a second line protects from nothing")
        )
    nodes = tuple(_node(tree, name, site, problems) for name in group.hosts)
    if not nodes:
        problems.append((str(group.place), f"{group.name} has no hosts: a site has a gateway at least"))
    return Site(
        site=site,
        name=_text(variables, "site_name", problems, group.place),
        group=group.name,
        upstream=upstream,
        second_upstream=str(second.value) if second is not None else "",
        lan=_text(variables, "site_lan", problems, group.place),
        addresses=tuple(address for node in nodes if node.kind == GATEWAY for address in _lines(tree, node, problems)),
        nodes=nodes,
        limits=tuple(_built(list[Limit], variables.get("site_limits"), variables, problems)),
        place=group.place,
        population=_population(variables, problems),
        variables=_held(tree, group, nodes),
    )


def _population(variables: Mapping[str, Given], problems: Problems) -> int:
    given = variables.get("site_population")
    if given is None:
        return 0
    if isinstance(given.value, bool) or not isinstance(given.value, int) or given.value < 0:
        problems.append((str(given.place), f"site_population must be a number of people, not {given.value!r}"))
        return 0
    return given.value


def _held(tree: Tree, group: Group, nodes: tuple[Node, ...]) -> dict[str, Given]:
    gateway = next((node.node for node in nodes if node.kind == GATEWAY), None)
    if gateway is not None:
        return tree.effective(gateway)
    return tree.groups["all"].variables | group.variables


def _node(tree: Tree, name: str, site: str, problems: Problems) -> Node:
    host = tree.hosts[name]
    kind = _text(host.variables, "kind", problems, host.place)
    if kind and kind not in KINDS:
        problems.append(
            (str(host.variables["kind"].place), f"{kind!r} is no kind of host; there are: {', '.join(KINDS)}")
        )
    address = _text(host.variables, "ansible_host", problems, host.place)
    if address:
        _address(address, host.variables["ansible_host"].place, problems)
    return Node(name, site, kind, address, host.place)


def _lines(tree: Tree, node: Node, problems: Problems) -> list[str]:
    """Return a gateway's address at each of its lines; its own where the inventory lists no uplinks."""
    uplinks = tree.hosts[node.node].variables.get("gateway_uplinks")
    if uplinks is None or not isinstance(uplinks.value, list):
        return [node.address] if node.address else []
    found = []
    for index, uplink in enumerate(uplinks.value):
        text = uplink.get("address", "") if isinstance(uplink, dict) else ""
        address = str(text).partition("/")[0]
        if _address(address, uplinks.at(f"$[{index}]"), problems):
            found.append(address)
    return found


def _address(text: str, place: Place, problems: Problems) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        problems.append((str(place), f"{text!r} is no IP address"))
        return False
    return True


def _text(variables: dict[str, Given], key: str, problems: Problems, place: Place | None = None) -> str:
    """Return a variable that must be there and must be text: a code that YAML takes for a number loses its zeros."""
    given = variables.get(key)
    if given is None:
        problems.append((str(place or Place("group_vars/all/province.yml")), f"{key} is missing"))
        return ""
    if not isinstance(given.value, str) or not given.value.strip():
        problems.append((str(given.place), f'{key} must be text: write {key}: "{given.value}"'))
        return ""
    try:
        return str(resolve(given.value, variables))
    except LookupError as exc:
        problems.append((str(given.place), f"{key}: {exc.args[0]}"))
        return ""


def _built(wanted: type[list[T]], given: Given | None, variables: dict[str, Given], problems: Problems) -> list[T]:
    if given is None:
        return []
    try:
        return build(wanted, resolve(given.value, variables))
    except LookupError as exc:
        problems.append((str(given.place), exc.args[0]))
    except ConfigError as exc:
        problems += [(str(given.at(path)), f"{path.removeprefix('$')}: {words}") for path, words in exc.problems]
    return []


def _refuse_repeated_sites(sites: list[Site], problems: Problems) -> None:
    first: dict[str, Site] = {}
    for site in sites:
        other = first.setdefault(site.site, site)
        if other is not site and site.site:
            problems.append((str(site.place), f"site {site.site!r} is given twice; first at {other.place}"))


def _refuse_repeated_addresses(sites: list[Site], problems: Problems) -> None:
    first: dict[str, tuple[str, str]] = {}
    nodes = [node for site in sites for node in site.nodes]
    owned = [(node.address, node.node, str(node.place)) for node in nodes]
    owned += [
        (address, gateways[0].node, str(gateways[0].place))
        for site in sites
        if (gateways := [node for node in site.nodes if node.kind == GATEWAY])
        for address in site.addresses
    ]
    for address, owner, place in owned:
        other, at = first.setdefault(address, (owner, place))
        if address and other != owner:
            problems.append((place, f"{owner} has the address {address}, which {other} has already ({at})"))


def _by_place(problem: tuple[str, str]) -> tuple[str, int, str]:
    file, _, line = problem[0].rpartition(":")
    return (file, int(line), problem[1]) if line.isdecimal() and file else (problem[0], 0, problem[1])

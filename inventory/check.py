"""What is wrong with an inventory: everything at once, each with its file and line. Pure, but for reading the files."""

from __future__ import annotations

import difflib
import ipaddress
import re
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import yaml

from checks.limits import base_metric
from checks.registry import CHECKS, load
from inventory.acceptance import PlanError, what
from inventory.profile import FILE, profile_of
from inventory.topology import GATEWAY, survey
from inventory.tree import read_tree
from inventory.units import by_code, nfc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from checks.limits import Limit
    from inventory.places import Given, Problems
    from inventory.topology import Inventory, Site
    from inventory.tree import Tree

OWN = frozenset(
    {
        "data_centre_address",
        "data_centre_control",
        "data_centre_dns",
        "data_centre_lan",
        "data_centre_one_stop",
        "data_centre_router",
        "data_centre_uplink",
        "kind",
        "limits",
        "province",
        "province_access_network",
        "province_domain",
        "province_name",
        "province_network",
        "province_second_access_network",
        "province_vpn_network",
        "services",
        "site",
        "site_lan",
        "site_limits",
        "site_name",
        "site_population",
        "site_second_upstream",
        "upstream_name",
    }
)
"""The inventory's own variables. Every other belongs to a role, to Ansible or to the vault."""

PUBLISHED = ("agent", "reflector", "stamp_sender")
"""What agents and reflectors tell of themselves: it has limits like a check."""

NEEDED = (
    *("province", "province_name", "province_domain", "province_network", "data_centre_lan", "data_centre_address"),
    "data_centre_dns",
)
_CODE = re.compile(r"\d{5}\Z")
_SECRET = re.compile(r"(password|passphrase|secret|token|private_key|community)\Z")
_VAULT = re.compile(r"\{\{\s*vault_[a-z0-9_]+\s*\}\}\Z")


def problems_of(folder: Path, roles: Path | None = None) -> tuple[Inventory, Problems]:
    """Return what an inventory says, and every problem in it: pairs of a place and a sentence.

    With the folder of the roles, variables are compared with what the roles declare.
    """
    tree = read_tree(folder)
    problems: Problems = list(tree.problems)
    inventory = survey(tree, problems)
    problems += [*_needed(tree), *_networks(tree, inventory), *_official(inventory)]
    problems += [*_secrets(tree), *_checks(tree, inventory)]
    _profile(tree, inventory, problems)
    if roles is not None:
        problems += _variables(tree, declared(roles))
    return inventory, sorted(set(problems), key=_order)


@dataclass(frozen=True, slots=True)
class Declared:
    """What roles say they read: every variable of their argument_specs, and roles that say nothing yet."""

    names: frozenset[str]
    silent: tuple[str, ...]

    def reads(self, name: str) -> bool:
        """Tell whether a role reads this variable, or may."""
        return name in self.names or name.startswith(tuple(f"{role}_" for role in self.silent))


def declared(roles: Path) -> Declared:
    """Return what the roles in a folder declare."""
    found: set[str] = set()
    silent = []
    for role in sorted(path for path in roles.iterdir() if path.is_dir()):
        specs = role / "meta/argument_specs.yml"
        if not specs.exists():
            silent.append(role.name)
            continue
        entries = yaml.safe_load(specs.read_text(encoding="utf-8")) or {}
        for entry in entries.get("argument_specs", {}).values():
            found |= set(entry.get("options") or {})
    return Declared(frozenset(found), tuple(silent))


def _needed(tree: Tree) -> Iterator[tuple[str, str]]:
    variables = tree.groups["all"].variables
    return (("group_vars/all/province.yml", f"{name} is missing") for name in NEEDED if name not in variables)


def _networks(tree: Tree, inventory: Inventory) -> Iterator[tuple[str, str]]:
    """Name networks that are none, that overlap, that lie outside of the province's, and hosts outside of theirs."""
    networks = []
    whole = _network(_value(tree.groups["all"].variables.get("province_network")))
    for site in inventory.sites:
        given = tree.groups[site.group].variables.get("site_lan")
        if given is None or not site.lan:
            continue
        network = _network(site.lan)
        if network is None:
            yield str(given.place), f"{site.lan!r} is no network; write for example 10.92.1.0/24"
            continue
        networks.append((network, site, str(given.place)))
        if whole is not None and (network.version != whole.version or not network.subnet_of(whole)):  # type: ignore[arg-type]  # one version
            yield str(given.place), f"{network} is outside of the province's network {whole}"
        yield from _outside(site, network)
    for (one, owner, _), (two, site, place) in combinations(networks, 2):
        if one.version == two.version and one.overlaps(two):
            yield place, f"{two} of site {site.site} overlaps {one} of site {owner.site} ({owner.place})"


def _outside(site: Site, lan: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Iterator[tuple[str, str]]:
    for node in site.nodes:
        if node.kind != GATEWAY and (address := _ip(node.address)) is not None and address not in lan:
            yield str(node.place), f"{node.node} has the address {address}, outside of its site's network {lan}"


def _official(inventory: Inventory) -> Iterator[tuple[str, str]]:
    """Compare communes with the official list: a site whose id is five digits is one."""
    units = by_code()
    for site in inventory.sites:
        if not _CODE.match(site.site):
            continue
        unit = units.get(site.site)
        if unit is None:
            yield str(site.place), f"site {site.site!r} is on no official list: a commune has its code of five digits"
        elif inventory.province and unit.province != inventory.province:
            yield (
                str(site.place),
                f"{site.site} is {unit.name} of {unit.province_name}, not of {inventory.province_name}",
            )
        elif nfc(site.name) != unit.name:
            yield str(site.place), f"site_name {site.name!r} is not the official one of {site.site}: {unit.name}"
        elif site.name != unit.name:
            yield str(site.place), f"site_name {site.name!r} has its accents as separate letters: write it in NFC"


def _secrets(tree: Tree) -> Iterator[tuple[str, str]]:
    """Name what looks like a secret and lies open. Files that are encrypted as a whole are not read at all."""
    for key, given in _given(tree):
        if given.secret or not isinstance(given.value, str) or _VAULT.match(given.value.strip()):
            continue
        if key.startswith("vault_") or _SECRET.search(key):
            yield str(given.place), f"{key} lies open: encrypt it with `ansible-vault`, in group_vars/all/vault.yml"


def _checks(tree: Tree, inventory: Inventory) -> Iterator[tuple[str, str]]:
    """Name services that nothing is asked of, and checks and metrics that do not exist."""
    services = tree.groups["all"].variables.get("services")
    limits = tree.groups["all"].variables.get("limits")
    for index, service in enumerate(inventory.services):
        place = str(services.at(f"$[{index}]")) if services else ""
        if not service.all_targets:
            yield place, f"service {service.service!r} has no targets: give it checks, or `targets`"
        for check in service.checks:
            if check.check not in CHECKS:
                yield place, f"there is no check {check.check!r}{_nearest(check.check, CHECKS)}"
    if limits is not None:
        yield from _limits(inventory.limits, limits)
    for site in inventory.sites:
        own = tree.groups[site.group].variables.get("site_limits")
        if own is not None:
            yield from _limits(site.limits, own)


def _limits(limits: Sequence[Limit], given: Given) -> Iterator[tuple[str, str]]:
    for index, limit in enumerate(limits):
        if words := _no_metric(limit.check, limit.metric):
            yield str(given.at(f"$[{index}]")), words


def _no_metric(check: str, metric: str) -> str:
    """Say what is wrong with the name of a check or a metric; "" where it exists."""
    if check in PUBLISHED:
        return ""
    if check not in CHECKS:
        return f"there is no check {check!r}{_nearest(check, CHECKS)}"
    metrics = set(map(base_metric, load(check).metrics))
    return "" if metric in metrics else f"{check} has no metric {metric!r}{_nearest(metric, metrics)}"


def _profile(tree: Tree, inventory: Inventory, problems: Problems) -> None:
    """Hold the local profile, where the inventory has its own, against what there is."""
    path = tree.folder / FILE
    found = profile_of(path, FILE, problems) if path.exists() else None
    if found is None:
        return
    profile, file = found
    asked = {}
    for index, one in enumerate(profile.measurements):
        try:
            asked[one.measurement] = what(one, inventory)
        except PlanError as exc:
            problems.append((str(file.at(f"$.measurements[{index}].service")), str(exc)))
    for index, criterion in enumerate(profile.criteria):
        check = asked.get(criterion.of, "")
        if check in CHECKS and (words := _no_metric(check, criterion.metric)):
            problems.append((str(file.at(f"$.criteria[{index}].metric")), words))
    for index, one in enumerate(profile.measurements):
        if one.check and one.check not in CHECKS:
            words = f"there is no check {one.check!r}{_nearest(one.check, CHECKS)}"
            problems.append((str(file.at(f"$.measurements[{index}].check")), words))


def _variables(tree: Tree, roles: Declared) -> Iterator[tuple[str, str]]:
    """Name variables that nothing reads: Ansible takes a misspelt one without a word."""
    every = roles.names | OWN
    seen: set[str] = set()
    for key, given in _given(tree):
        place = str(given.place)
        if key in OWN or roles.reads(key) or key.startswith(("ansible_", "vault_")) or place in seen:
            continue
        seen.add(place)
        yield place, f"nothing reads {key!r}{_nearest(key, every)}"


def _given(tree: Tree) -> Iterator[tuple[str, Given]]:
    """Yield every variable of every group and host."""
    for group in tree.groups.values():
        yield from group.variables.items()
    for host in tree.hosts.values():
        yield from host.variables.items()


def _nearest(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _value(given: Given | None) -> str:
    return str(given.value) if given is not None else ""


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _order(problem: tuple[str, str]) -> tuple[str, int, str]:
    file, _, line = problem[0].rpartition(":")
    return (file, int(line), problem[1]) if line.isdecimal() and file else (problem[0], 0, problem[1])

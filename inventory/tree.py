"""Ansible's groups, hosts and variables as files in a folder say them, with the place of each.

It is the part of Ansible's inventory that people write by hand: YAML files of groups in any folder, `group_vars/` and
`host_vars/`. Files of inventory plugins (`plugin: …`) are left to Ansible.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inventory.places import Given, Place, Problems, compose, entries, given

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import yaml

_VARS = ("group_vars", "host_vars")
_OURS = ("acceptance.yml", "baseline.yml", "known_hosts")
_YAML = (".yml", ".yaml")
_NOT_INVENTORY = (".cfg", ".csv", ".example", ".html", ".md", ".pub", ".retry", ".txt")
_PARTS = ("children", "hosts", "vars")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(slots=True)
class Group:
    """A group while its files are read."""

    name: str
    place: Place
    variables: dict[str, Given] = field(default_factory=dict)
    parents: dict[str, Place] = field(default_factory=dict)
    hosts: dict[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class Host:
    """A host while its files are read."""

    name: str
    place: Place
    variables: dict[str, Given] = field(default_factory=dict)
    groups: dict[str, Place] = field(default_factory=dict)


@dataclass(slots=True)
class Tree:
    """Everything that the folder says, and what in it cannot be meant."""

    folder: Path
    groups: dict[str, Group] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    problems: Problems = field(default_factory=list)

    def ancestors(self, name: str) -> list[str]:
        """Return the groups above a group, the nearest first; a loop ends it."""
        found: list[str] = []
        waiting = list(self.groups[name].parents)
        while waiting:
            parent = waiting.pop(0)
            if parent not in found and parent != name:
                found.append(parent)
                waiting += self.groups[parent].parents
        return found

    def effective(self, host: str) -> dict[str, Given]:
        """Return a host's variables as Ansible sees them: of `all`, of each group from the outermost in, its own."""
        groups = {above for group in self.hosts[host].groups for above in (group, *self.ancestors(group))}
        depth = {group: len(self.ancestors(group)) for group in groups}
        merged = dict(self.groups["all"].variables) if "all" in self.groups else {}
        for group in sorted(groups - {"all"}, key=lambda each: (depth[each], each)):
            merged |= self.groups[group].variables
        return merged | self.hosts[host].variables


def read_tree(folder: Path) -> Tree:
    """Read an inventory's folder."""
    tree = Tree(folder, groups={"all": Group("all", Place("."))})
    for path, name in _inventory_files(folder, folder, tree.problems):
        _read_groups(tree, compose(path, name, tree.problems), name)
    for kind, owners in (("group_vars", tree.groups), ("host_vars", tree.hosts)):
        for owner, path, name in _variable_files(folder, kind):
            if owner not in owners:
                tree.problems.append((name, f"no {kind.partition('_')[0]} is called {owner!r}"))
                continue
            node = compose(path, name, tree.problems)
            for key, place, value in entries(node, name, "variables", tree.problems):
                _put(tree, owners[owner].variables, key, place, given(value, name))
    _refuse_loops(tree)
    return tree


def _inventory_files(root: Path, folder: Path, problems: Problems) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.iterdir()):
        name = str(path.relative_to(root))
        if path.name.startswith(".") or path.name in (*_VARS, *_OURS) or path.name.endswith(_NOT_INVENTORY):
            continue
        if path.is_dir():
            yield from _inventory_files(root, path, problems)
        elif path.suffix in _YAML:
            yield path, name
        else:
            problems.append((name, "is not read: an inventory is written in YAML, in files that end in .yml"))


def _variable_files(folder: Path, kind: str) -> Iterator[tuple[str, Path, str]]:
    """Yield the owner, path and name of each file of variables: `group_vars/all.yml`, `group_vars/all/limits.yml`."""
    root = folder / kind
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        for file in sorted(path.rglob("*")) if path.is_dir() else (path,):
            if file.suffix in _YAML and not file.name.startswith("."):
                yield path.stem if path.is_file() else path.name, file, str(file.relative_to(folder))


def _read_groups(tree: Tree, node: yaml.Node | None, name: str) -> None:
    top = list(entries(node, name, "an inventory", tree.problems))
    if any(key == "plugin" for key, _, _ in top):
        return
    for group, place, body in top:
        _read_group(tree, group, place, body, "")


def _read_group(tree: Tree, name: str, place: Place, body: yaml.Node, parent: str) -> None:
    if not _NAME.match(name):
        tree.problems.append((str(place), f"{name!r} is no name of a group: use letters, digits and _"))
        return
    group = tree.groups.setdefault(name, Group(name, place))
    if parent not in ("", "all"):
        group.parents.setdefault(parent, place)
    for part, at, value in entries(body, place.file, f"group {name}", tree.problems):
        if part not in _PARTS:
            tree.problems.append((str(at), f"{part!r} is no part of a group; there are: {', '.join(_PARTS)}"))
        for key, where, inner in entries(value, place.file, part, tree.problems) if part in _PARTS else ():
            if part == "children":
                _read_group(tree, key, where, inner, name)
            elif part == "vars":
                _put(tree, group.variables, key, where, given(inner, place.file))
            else:
                _read_host(tree, key, where, inner, group)


def _read_host(tree: Tree, name: str, place: Place, body: yaml.Node, group: Group) -> None:
    host = tree.hosts.setdefault(name, Host(name, place))
    host.groups.setdefault(group.name, place)
    group.hosts.setdefault(name, place)
    for key, at, value in entries(body, place.file, f"host {name}", tree.problems):
        _put(tree, host.variables, key, at, given(value, place.file))


def _put(tree: Tree, variables: dict[str, Given], key: str, place: Place, value: Given) -> None:
    before = variables.get(key)
    if before is not None:
        tree.problems.append((str(place), f"{key!r} is given twice; first at {before.place}"))
    variables[key] = Given(value.value, place, value.secret, value._node)  # noqa: SLF001  (the key's line is shown)


def _refuse_loops(tree: Tree) -> None:
    for group in tree.groups.values():
        above = {name: place for name, place in group.parents.items() if group.name in (name, *tree.ancestors(name))}
        for parent, place in above.items():
            tree.problems.append((str(place), f"{group.name} is inside of itself, by way of {parent}"))
            del group.parents[parent]

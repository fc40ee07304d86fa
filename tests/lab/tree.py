"""The inventory as the lab needs it: who hangs on whom, which hosts there are, and the addresses they have."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_OTHERS = ("group_vars", "host_vars")


@dataclass
class Group:
    """A group of the inventory, with what every file says of it."""

    name: str
    parent: str = ""
    variables: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)


class Tree:
    """All groups, and the variables that hold everywhere."""

    def __init__(self, folder: Path) -> None:
        """Read a folder's YAML files; yaml.YAMLError names one that is none."""
        self.folder = folder
        self.groups: dict[str, Group] = {}
        self.variables: dict[str, Any] = {}
        for path in sorted(folder.rglob("*.yml")):
            first = path.relative_to(folder).parts[0]
            text = path.read_text(encoding="utf-8")
            if text.startswith("$ANSIBLE_VAULT") or (first in _OTHERS and "all" not in path.parts):
                continue
            try:
                content = yaml.safe_load(text) or {}
            except yaml.YAMLError as exc:
                raise yaml.YAMLError(f"{path}: {exc}") from None
            if not isinstance(content, dict):
                continue
            if first in _OTHERS:
                self.variables |= content
            elif "all" in content:
                self._read("all", "", content["all"])

    def _read(self, name: str, parent: str, content: dict[str, Any] | None) -> None:
        group = self.groups.setdefault(name, Group(name))
        group.parent = parent or group.parent
        content = content or {}
        group.variables |= content.get("vars") or {}
        for host, variables in (content.get("hosts") or {}).items():
            group.hosts.setdefault(host, {}).update(variables or {})
        for child, inside in (content.get("children") or {}).items():
            self._read(child, name, inside)

    def value(self, value: Any) -> Any:
        """Return a value with the names in double braces replaced."""
        while isinstance(value, str) and (found := _NAME.search(value)):
            value = value.replace(found[0], str(self.variables.get(found[1], "")))
        return value

    def variable(self, name: str, default: Any = "") -> Any:
        """Return a variable of everybody's."""
        return self.value(self.variables.get(name, default))

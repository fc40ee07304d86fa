"""Which Debian packages the roles may install, as their defaults say it.

That is everything in `ROLE_packages`, `ROLE_…_packages` and `ROLE_packages_by_…`: lists, lists by a choice, and names
that stand between quotes in an expression. Which of them a host takes is decided there; the bundle has them all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from checks.strict import ConfigError, load_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")  # Debian Policy, 5.6.1
_QUOTED = re.compile(r"'([^']*)'")


def declared(roles: Path) -> dict[str, tuple[str, ...]]:
    """Return the packages of each role under `roles`; `ConfigError` names every entry that is no package's name."""
    found: dict[str, tuple[str, ...]] = {}
    problems: list[tuple[str, str]] = []
    for path in sorted(roles.glob("*/defaults/main.yml")):
        role = path.parent.parent.name
        names = []
        for variable, value in load_yaml(path, dict[str, Any]).items():
            if re.fullmatch(rf"{role}_(.+_)?packages(_by_.+)?", variable):
                there = _names(value)
                problems += [(f"{path}: $.{variable}", words) for words in map(_wrong, there) if words]
                names += there
        if names:
            found[role] = tuple(dict.fromkeys(names))
    if problems:
        raise ConfigError(problems)
    return found


def listed(path: Path) -> tuple[str, ...]:
    """Read a list of names, one a line; what follows a `#` is for people."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(name for line in lines if (name := line.partition("#")[0].strip()))


def chosen(
    wanted: Mapping[str, tuple[str, ...]], extras: Iterable[str], asked: Iterable[str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Part what is bundled from what is left out: `extras` are, but for those that were `asked` for.

    `all` asks for every one, and a package that is asked for needs no role that declares it.
    """
    extras, asked = frozenset(extras), frozenset(asked)
    named = extras if "all" in asked else asked
    left_out = {name for names in wanted.values() for name in names if name in extras - named}
    kept = {role: tuple(name for name in names if name not in left_out) for role, names in wanted.items()}
    if named:
        kept["extras"] = tuple(sorted(named))
    return {role: names for role, names in kept.items() if names}, tuple(sorted(left_out))


def _names(value: object) -> list[Any]:
    if isinstance(value, str) and "{{" in value:
        return _QUOTED.findall(value)
    if isinstance(value, dict):
        return [name for part in value.values() for name in _names(part)]
    return value if isinstance(value, list) else [value]


def _wrong(name: object) -> str:
    if isinstance(name, str) and _PACKAGE.fullmatch(name):
        return ""
    return f"{name!r} is not the name of a Debian package: the bundle could not have it"

"""What every role promises: its variables are declared, defaulted and documented, its tasks are switched and tagged."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.playbooks.role_files import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOT = ROLES.parents[1]
EVERY = sorted(path.name for path in ROLES.iterdir() if path.is_dir())
NAMES = [name for name in EVERY if (ROLES / name / "meta/argument_specs.yml").exists()]
every_role = pytest.mark.parametrize("role", NAMES)

# Templates that need not say who manages them, beside parts of others and JSON, which has no comments.
_UNSIGNED = {
    "fcitx5-profile.j2": "its program writes it anew, without comments",
    "hub.conf.j2": "one of the parts that a file is assembled of",
    "peer.conf.j2": "another",
}
_ROW = re.compile(r"^\| `([a-z0-9_]+)` \|", re.MULTILINE)
_MODULE = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+\.[a-z0-9_]+")
_OUR_MODULES = frozenset(path.stem for path in (ROOT / "playbooks/plugins/modules").glob("*.py"))


def test_every_role_has_all_its_parts() -> None:
    parts = ("README.md", "defaults/main.yml", "meta/argument_specs.yml", "tasks/main.yml")
    assert [f"{name}/{part}" for name in EVERY for part in parts if not (ROLES / name / part).exists()] == []


@every_role
def test_a_role_declares_and_defaults_the_same_variables(role: str) -> None:
    defaults, options = _defaults(role), _options(role)
    optional = {name for name, option in options.items() if not option.get("required")}
    without = {name for name in optional if "default" not in options[name]}
    assert set(defaults) == optional - without, "defaults/main.yml and meta/argument_specs.yml differ"
    assert {name: options[name]["default"] for name in defaults} == defaults
    assert all(option.get("description") and option.get("type") for option in options.values())


@every_role
def test_a_role_documents_every_variable(role: str) -> None:
    _, _, table = _readme(role).partition("\n| variable | default |")
    assert sorted(_ROW.findall(table.partition("\n\n")[0])) == sorted(_options(role))


@every_role
def test_a_roles_variables_carry_its_name(role: str) -> None:
    named = {*_defaults(role), *_options(role), *_load(ROLES / role / "vars/main.yml", {})}
    assert [name for name in named if not name.startswith(f"{role}_")] == []


@every_role
def test_a_role_has_a_switch(role: str) -> None:
    assert _defaults(role)[f"{role}_enabled"] is True
    (whole,) = _load(ROLES / role / "tasks/main.yml", [])
    assert f"{role}_enabled" in str(whole["when"])


@every_role
def test_each_file_of_tasks_has_its_tag(role: str) -> None:
    """A tag of one's own, so that a person can run that part alone; `always` for what every part needs."""
    for task in _tasks(_load(ROLES / role / "tasks/main.yml", [])):
        if "ansible.builtin.import_tasks" in task:
            tags = task.get("tags", [])
            assert tags == ["always"] or (tags and all(tag.startswith(f"{role}_") for tag in tags)), task["name"]


@every_role
def test_a_role_uses_what_every_control_node_has(role: str) -> None:
    """Modules of `ansible.builtin` and our own: a control node without internet fetches no collection."""
    for path in sorted((ROLES / role).glob("[th]a*/*.yml")):
        for task in _tasks(_load(path, [])):
            (module,) = [key for key in task if _MODULE.fullmatch(key) or key in (*_OUR_MODULES, "block")]
            assert module.startswith("ansible.builtin.") or "." not in module, f"{path.name}: {task.get('name')}"


@every_role
def test_what_a_role_writes_says_who_manages_it(role: str) -> None:
    templates = {path: path.read_text(encoding="utf-8") for path in (ROLES / role / "templates").rglob("*.j2")}
    for path, text in templates.items():
        included = any(f"include '{path.name}'" in other for other in templates.values())
        if included or path.name.endswith(".json.j2") or path.name in _UNSIGNED:
            continue
        assert re.search(rf"managed by the role {role}\b", "\n".join(text.splitlines()[:6]), re.IGNORECASE), path.name


def test_every_variable_of_the_inventories_is_some_roles() -> None:
    """A misspelt variable changes nothing and nobody notices: argument_specs accept any."""
    declared = {role: set(_options(role)) for role in NAMES}
    unknown = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "inventory").glob("*/**/*.yml"))
        for name in _variables(path)
        for role in [_owner(name)]
        if role and name not in declared[role]
    ]
    assert unknown == []


def test_a_play_with_the_firewall_lists_every_role_that_opens_something_on_its_hosts() -> None:
    """The firewall knows the roles of its play: one that another play brings to the same hosts would stay shut."""
    opening = {role for role in NAMES if any(re.search(r"_firewall_(open|forward)$", name) for name in _defaults(role))}
    by_hosts: dict[str, set[str]] = defaultdict(set)
    firewalls = []
    for path in sorted((ROOT / "playbooks").glob("*.yml")):
        for play in _load(path, []):
            roles = {role if isinstance(role, str) else role["role"] for role in play.get("roles", [])}
            hosts = re.split(r"[:,]", str(play.get("hosts", "")))[0]
            by_hosts[hosts] |= roles & opening
            if "firewall" in roles:
                firewalls.append((path.name, hosts, roles))
    assert firewalls
    shut = [(name, hosts, sorted(by_hosts[hosts] - roles)) for name, hosts, roles in firewalls]
    assert [each for each in shut if each[2]] == []


def _load(path: Path, missing: Any) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or missing if path.exists() else missing


def _defaults(role: str) -> dict[str, Any]:
    return dict(_load(ROLES / role / "defaults/main.yml", {}))


def _options(role: str) -> dict[str, dict[str, Any]]:
    return dict(_load(ROLES / role / "meta/argument_specs.yml", {})["argument_specs"]["main"].get("options", {}))


def _readme(role: str) -> str:
    return (ROLES / role / "README.md").read_text(encoding="utf-8")


def _tasks(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _tasks(task.get(part, []))


def _variables(path: Path) -> set[str]:
    """Return the variables of an inventory file: of its groups and hosts, or of the group whose file it is."""
    whole = _load_inventory(path)
    return {str(name) for name in _names(whole)} if "group_vars" not in path.parts else {str(name) for name in whole}


def _load_inventory(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    return {} if text.startswith("$ANSIBLE_VAULT") else yaml.safe_load(text) or {}


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "vars" and isinstance(below, dict):
                yield from below
            elif key == "hosts" and isinstance(below, dict):
                for variables in below.values():
                    yield from variables or {}
            else:
                yield from _names(below)


def _owner(name: str) -> str | None:
    owners = [role for role in NAMES if name.startswith(f"{role}_")]
    return max(owners, key=len) if owners else None

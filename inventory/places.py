"""YAML with places: every value knows its file and line, so that every problem can be found again."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from checks.strict import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Problems = list[tuple[str, str]]
"""Pairs of a place (`sites/pop_cai_khe.yml:12`) and a sentence, as `ConfigError` takes them."""

VAULT_HEADER = "$ANSIBLE_VAULT;"
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def located(folder: Path, problems: Problems) -> ConfigError:
    """Return the error that says all of it, with each file's name as it is reached from here."""
    return ConfigError([(f"{folder}/{place}", words) for place, words in problems])


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file; 0 is the file as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Given:
    """A value as somebody wrote it, and where. `secret` when it is encrypted, so that nobody here knows it."""

    value: Any
    place: Place
    secret: bool = False
    _node: yaml.Node | None = field(default=None, repr=False, compare=False)

    def at(self, path: str) -> Place:
        """Return the place of a part of the value, by its path: `$.checks[2].target`, or the nearest above it."""
        node = self._node
        place = self.place
        for key, index in _STEP.findall(path):
            node = _child(node, key, index)
            if node is None:
                break
            place = Place(self.place.file, node.start_mark.line + 1)
        return place


class Loader(yaml.SafeLoader):
    """Plain YAML, and the two tags of Ansible."""


class _Vaulted(str):
    __slots__ = ()


Loader.add_constructor("!vault", lambda _loader, _node: _Vaulted())
Loader.add_constructor("!unsafe", lambda _loader, node: node.value)


def compose(path: Path, name: str, problems: Problems) -> yaml.Node | None:
    """Return a YAML file's tree, or None where it is empty, encrypted as a whole, or not to be read.

    `problems` takes what cannot be read, and every key that is given twice: plain YAML keeps the last and says nothing.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        problems.append((name, f"cannot be read: {exc.strerror}"))
        return None
    except UnicodeDecodeError as exc:
        problems.append((name, f"is not UTF-8 at byte {exc.start + 1}"))
        return None
    if text.startswith(VAULT_HEADER):
        return None
    try:
        node = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = Place(name, mark.line + 1 if mark else 0)
        problems.append((str(place), f"not valid YAML: {getattr(exc, 'problem', None) or exc}"))
        return None
    if node is not None:
        _refuse_repeated(node, name, problems)
    return node


def entries(node: yaml.Node | None, name: str, what: str, problems: Problems) -> Iterator[tuple[str, Place, yaml.Node]]:
    """Yield the keys of a mapping with the place of each and its value; `problems` takes what is no mapping."""
    if node is None or _is_null(node):
        return
    if not isinstance(node, yaml.MappingNode):
        place = Place(name, node.start_mark.line + 1)
        problems.append((str(place), f"{what} must be a mapping of names to values"))
        return
    for key, value in node.value:
        yield str(key.value), Place(name, key.start_mark.line + 1), value


def given(node: yaml.Node, name: str) -> Given:
    """Return the value of a node with its place."""
    loader = Loader("")
    try:
        value = loader.construct_document(node)
    except yaml.YAMLError:  # a date of no calendar, a tag of somebody else's: as it is written
        value = node.value if isinstance(node, yaml.ScalarNode) else None
    finally:
        loader.dispose()
    return Given(value, Place(name, node.start_mark.line + 1), isinstance(value, _Vaulted), node)


def _child(node: yaml.Node | None, key: str, index: str) -> yaml.Node | None:
    if index and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
        found: yaml.Node = node.value[int(index)]
        return found
    if key and isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if str(name.value) == key), None)
    return None


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _refuse_repeated(node: yaml.Node, name: str, problems: Problems) -> None:
    waiting, seen = [node], {id(node)}
    while waiting:
        one = waiting.pop()
        children = one.value if isinstance(one, yaml.SequenceNode) else []
        if isinstance(one, yaml.MappingNode):
            _refuse_keys(one, name, problems)
            children = [part for pair in one.value for part in pair]
        for child in children:
            if id(child) not in seen:  # an alias may lead back to where it came from
                seen.add(id(child))
                waiting.append(child)


def _refuse_keys(node: yaml.MappingNode, name: str, problems: Problems) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            problems.append((str(Place(name, line)), f"{key.value!r} is given twice; first on line {lines[key.value]}"))
        lines.setdefault(key.value, line)

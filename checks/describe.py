"""What each check is, in words: read from the check's own class, so that the words cannot drift from the code."""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import msgspec

from checks import registry
from checks.limits import base_metric

if TYPE_CHECKING:
    from checks.check import Check

_KINDS: dict[object, str] = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_UNITS = {
    "_bits_per_second": "bit/s",
    "_seconds": "s",
    "_ratio": "0 to 1",
    "_bytes": "B",
    "_bytes_total": "B",
    "_total": "count",
    "_days": "d",
    "_celsius": "°C",
    "_volts": "V",
    "_watts": "W",
    "_hertz": "Hz",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: what it may be, what it is when nobody says, and what it means."""

    name: str
    kind: str
    default: Any
    required: bool
    meaning: str


def parameters(check: type[Check]) -> list[Parameter]:
    """Return the parameters of a check, in the order of its class."""
    return [_parameter(field) for field in msgspec.structs.fields(check)]  # type: ignore[arg-type]  # checks are structs


def unit(metric: str) -> str:
    """Return the unit that a metric's name states; empty for a plain number."""
    base = base_metric(metric)
    return next((words for ending, words in _UNITS.items() if base.endswith(ending)), "")


def as_data() -> list[dict[str, Any]]:
    """Return every check as plain data, for `--format json`."""
    return [
        {
            "check": name,
            "summary": check.summary,
            "target": check.target_help,
            "parameters": [
                {"name": each.name, "type": each.kind, "default": each.default, "meaning": each.meaning}
                for each in parameters(check)
            ],
            "metrics": [
                {"name": metric, "unit": unit(metric), "meaning": meaning} for metric, meaning in check.metrics.items()
            ],
        }
        for name, check in _checks()
    ]


def as_text() -> str:
    """Return every check as text for a terminal."""
    return "\n\n".join(_one(name, check) for name, check in _checks())


def as_markdown() -> str:
    """Return every check as a section, the same that stands on its page in `docs/checks/`."""
    return "\n\n".join(f"## {name}\n\n{section(check)}" for name, check in _checks())


def section(check: type[Check]) -> str:
    """Return what a check takes and gives, as Markdown."""
    lines = [f"{_sentence(check.summary)}.", f"Target: {check.target_help}.", ""]
    lines += ["| parameter | what it may be | default | meaning |", "|---|---|---|---|"]
    for each in parameters(check):
        default = _default(each).removeprefix(", default ").removeprefix(", ") or "–"
        lines.append(f"| `{each.name}` | {each.kind} | {default} | {each.meaning} |")
    lines += ["", "| metric | unit | meaning |", "|---|---|---|"]
    lines += [f"| `{metric}` | {unit(metric) or '–'} | {meaning} |" for metric, meaning in check.metrics.items()]
    none = ", ".join(f"`{metric}` {value:g}" for metric, value in check.unreachable.items())
    return "\n".join([*lines, *(["", f"No answer is written as {none}."] if none else [])])


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _one(name: str, check: type[Check]) -> str:
    given = parameters(check)
    width = max(len(word) for word in (*check.metrics, *(each.name for each in given)))
    lines = [f"{name}: {check.summary}", f"  target: {check.target_help}", "  parameters (--set name=value):"]
    lines += [f"    {each.name:<{width}}  {each.meaning}; {each.kind}{_default(each)}" for each in given]
    lines += ["  metrics:"]
    lines += [f"    {metric:<{width}}  {meaning}" for metric, meaning in check.metrics.items()]
    return "\n".join(lines)


def _default(parameter: Parameter) -> str:
    if parameter.required:
        return ", required"
    if parameter.default is None or parameter.default in ((), {}, []):
        return ""
    value = parameter.default
    if isinstance(value, bool):
        return f", default {str(value).lower()}"
    return f", default {' '.join(value) if isinstance(value, tuple) else value}"


def _checks() -> list[tuple[str, type[Check]]]:
    return [(name, registry.load(name)) for name in registry.CHECKS]


def _parameter(field: msgspec.structs.FieldInfo) -> Parameter:
    required = field.required
    default = None if required else field.default
    if default is msgspec.NODEFAULT:
        default = field.default_factory() if callable(field.default_factory) else None
    meaning = next((meta.description for meta in _metas(field.type) if meta.description), "")
    return Parameter(field.name, _kind(field.type), default, required, meaning)


def _metas(type_: Any) -> list[msgspec.Meta]:
    return [each for each in getattr(type_, "__metadata__", ()) if isinstance(each, msgspec.Meta)]


def _kind(type_: Any) -> str:
    """Say a type in words, with its bounds: `whole number from 1 to 65535`, `A or AAAA`, `list of text`."""
    origin, inner = get_origin(type_), get_args(type_)
    if origin is typing.Annotated:
        return _kind(inner[0]) + _bounds(_metas(type_))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(each) for each in inner if each is not type(None))
    if origin is Literal:
        return " or ".join(str(each) for each in inner)
    if origin in (list, tuple):
        return f"list of {_kind(inner[0])}"
    if origin is dict:
        return f"mapping of {_kind(inner[0])} to {_kind(inner[1])}"
    return _KINDS.get(type_, getattr(type_, "__name__", str(type_)))


def _bounds(metas: list[msgspec.Meta]) -> str:
    words = ""
    for meta in metas:
        words += f" from {meta.ge:g}" if meta.ge is not None else ""
        words += f" above {meta.gt:g}" if meta.gt is not None else ""
        words += f" to {meta.le:,}".replace(",", "") if meta.le is not None else ""
    return words

"""A judged result as text for people, JSON, line protocol, or the one line of a Nagios plug-in."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from checks import registry
from checks.limits import base_metric, say
from checks.line_protocol import encode_result
from checks.verdict import State, judge_once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from checks.limits import Limit
    from checks.result import Result
    from checks.verdict import Breach

_UNITS = {"_seconds": "s", "_bytes": "B", "_total": "c"}
_MANY = 3

Judged = tuple["Result", State, "list[Breach]"]


def as_text(result: Result, limits: Sequence[Limit]) -> str:
    """Several lines for a person: the state, what is wrong, each note, each metric with its meaning."""
    state, breaches = judge_once(result, limits)
    lines = [f"{result.check} {result.target}: {state.name}"]
    lines += [f"  {words}" for words in (*_complaints(result, breaches), *result.notes)]
    meanings = _meanings(result.check)
    rows = [(name, say(name, value), meanings.get(base_metric(name), "")) for name, value in result.metrics.items()]
    width, wide = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    lines += [f"  {name:<{width}}  {value:>{wide}}  {meaning}".rstrip() for name, value, meaning in rows]
    return "\n".join(lines)


def as_json(result: Result, limits: Sequence[Limit]) -> str:
    """One JSON object: the result as it is, with `state` and `breaches`."""
    state, breaches = judge_once(result, limits)
    facts = {**asdict(result), "metrics": dict(result.metrics), "state": state.name}
    return json.dumps({**facts, "breaches": [asdict(breach) for breach in breaches]}, ensure_ascii=False)


def as_line(result: Result, _limits: Sequence[Limit]) -> str:
    """One line of InfluxDB line protocol, as the agent would send it."""
    return encode_result(result)


def as_nagios(result: Result, limits: Sequence[Limit]) -> str:
    """`ICMP_ECHO OK - … | rtt_min_seconds=0.000031s;…`: words and performance data, in one line."""
    state, breaches = judge_once(result, limits)
    words = "; ".join(_complaints(result, breaches)) or _highlights(result, limits)
    line = f"{nagios_line(result.check, state, f'{result.target}: {words}')}"
    data = [_performance(name, value, limits, result.check) for name, value in result.metrics.items()]
    return f"{line} | {' '.join(data)}" if data else line


def nagios_line(check: str, state: State, words: str) -> str:
    """Return the part of the line that people read; a bar or a line feed would end it too early."""
    plain = " ".join(words.replace("|", "/").split())
    return f"{check.upper()} {state.name} - {plain}"


FORMATS: dict[str, Callable[[Result, Sequence[Limit]], str]] = {
    "text": as_text,
    "json": as_json,
    "line": as_line,
    "nagios": as_nagios,
}


def _complaints(result: Result, breaches: list[Breach]) -> list[str]:
    said = result.error or result.reason
    return ([said] if said else []) + [breach.words for breach in breaches]


def _highlights(result: Result, limits: Sequence[Limit]) -> str:
    """Say the metrics that are judged; those of a check without limits as they come."""
    judged = {limit.metric for limit in limits if limit.check == result.check}
    names = [name for name in result.metrics if base_metric(name) in judged] or list(result.metrics)
    return ", ".join(f"{name} {say(name, result.metrics[name])}" for name in names[:_MANY])


def _meanings(check: str) -> dict[str, str]:
    """Return what each metric of a check means; those of another [instance] mean the same."""
    if check not in registry.CHECKS:
        return {}
    meanings: dict[str, str] = {}
    for name, meaning in registry.load(check).metrics.items():
        meanings.setdefault(base_metric(name), meaning)
    return meanings


def _performance(name: str, value: float, limits: Sequence[Limit], check: str) -> str:
    """One item of performance data: 'label'=value[unit];warning;critical;minimum;maximum."""
    base = base_metric(name)
    limit = next((each for each in limits if (each.check, each.metric) == (check, base)), None)
    unit = next((unit for ending, unit in _UNITS.items() if base.endswith(ending)), "")
    label = name if name.isidentifier() else "'" + name.replace("'", "''").replace("=", "_") + "'"
    parts = [f"{label}={decimal(value)}{unit}", "", "", "", ""]
    if limit:
        colon = "" if limit.above else ":"  # "7:" is: below 7
        parts[1] = f"{decimal(limit.yellow.enter)}{colon}" if limit.yellow else ""
        parts[2] = f"{decimal(limit.red.enter)}{colon}" if limit.red else ""
    if base.endswith("_ratio"):
        parts[3:] = ["0", "1"]
    return ";".join(parts).rstrip(";")


def decimal(value: float) -> str:
    """Write a number without an exponent, which performance data does not know."""
    text = f"{value:.9f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

"""What the UPS daemon `upsd` says (Network UPS Tools, network protocol 1.3): lines of words, some of them quoted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from checks.lines import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checks.lines import Lines

_MOST_VARIABLES = 1000
_VARIABLE = re.compile(r'VAR (\S+) (\S+) "((?:[^"\\]|\\.)*)"\Z', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_REFUSALS = {
    "UNKNOWN-UPS": "upsd knows no UPS of that name",
    "DATA-STALE": "upsd has lost contact with the UPS: its data are stale",
    "DRIVER-NOT-CONNECTED": "upsd has no contact with the UPS: its driver is not running",
    "ACCESS-DENIED": "upsd does not let us read: access denied",
    "USERNAME-REQUIRED": "upsd wants a user",
    "PASSWORD-REQUIRED": "upsd wants a password",
}


class NutError(Exception):
    """upsd gave no variables: `str` says what it said instead."""


def parse_variable(line: str) -> tuple[str, str, str]:
    """Return UPS, name and value of a line such as `VAR ups battery.charge "95"`; `NutError` when it is none."""
    match = _VARIABLE.match(line)
    if match is None:
        raise NutError(f"the answer is not that of upsd: {shown(line)!r}")
    return match[1], match[2], _ESCAPE.sub(r"\1", match[3])


async def log_in(lines: Lines, user: str, password: str) -> None:
    """Say who we are. Never LOGIN: that would make upsd wait for us before it switches a UPS off."""
    for command in (f"USERNAME {quoted(user)}", f"PASSWORD {quoted(password)}"):
        await lines.send(command)
        answer = await lines.line()
        if not answer.startswith("OK"):
            raise refusal(answer)


async def variables(lines: Lines, ups: str) -> Mapping[str, str]:
    """Ask for every variable of a UPS. `NutError` when upsd refuses, or answers something else."""
    await lines.send(f"LIST VAR {ups}")
    answer = await lines.line()
    if answer != f"BEGIN LIST VAR {ups}":
        raise refusal(answer)
    found: dict[str, str] = {}
    for _ in range(_MOST_VARIABLES):
        line = await lines.line()
        if line == f"END LIST VAR {ups}":
            return found
        whose, name, value = parse_variable(line)
        if whose != ups:
            raise NutError(f"upsd tells of another UPS than was asked for: {shown(whose)}")
        found[name] = value
    raise NutError(f"upsd lists more than {_MOST_VARIABLES} variables")


def refusal(answer: str) -> NutError:
    """Say a refusal (`ERR DATA-STALE`) in words; anything else as it came."""
    error, _, code = answer.partition(" ")
    if error != "ERR":
        return NutError(f"the answer is not that of upsd: {shown(answer)!r}")
    return NutError(_REFUSALS.get(code.split(" ")[0], f"upsd refuses: {shown(code)}"))


def quoted(word: str) -> str:
    """Write a word as upsd reads it, whatever is in it."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'

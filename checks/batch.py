"""A plan: many measurements in one go, as `nhip check run --plan` runs them. The acceptance of a site is one."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from checks import registry
from checks.run import run
from checks.strict import ConfigError, build, load_yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from checks.check import Check
    from checks.result import Result

_SITES_AT_ONCE = 16
_Word = Annotated[str, Meta(pattern=r"^[^\x00-\x1f]*[^\x00-\x1f\\]$", max_length=1000)]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measurement as written: a name for its result, the check, its target and its parameters."""

    id: _Word
    check: str
    target: Annotated[str, Meta(pattern=r"^([^\x00-\x1f]*[^\x00-\x1f\\])?$", max_length=1000)] = ""
    site: str = ""
    parameters: dict[str, Any] = msgspec.field(name="with", default_factory=dict)


@dataclass(frozen=True, slots=True)
class Planned:
    """An entry with its check built."""

    entry: Entry
    check: Check


def read_plan(source: str) -> list[Planned]:
    """Read a plan, YAML or JSON, from a file or (`-`) from standard input; `ConfigError` lists every mistake in it."""
    name = "plan" if source == "-" else source
    raw = _standard_input(name) if source == "-" else load_yaml(Path(source), list)
    try:
        entries = build(list[Entry], raw)
    except ConfigError as exc:
        raise ConfigError(exc.problems, name) from None
    problems: list[tuple[str, str]] = []
    planned = [made for index, entry in enumerate(entries) if (made := _planned(entry, f"$[{index}]", problems))]
    seen: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(entries):
        first = seen.setdefault((entry.site, entry.id), index)
        if first != index:
            problems.append((f"$[{index}].id", f"{entry.id!r} is given twice; first at $[{first}]"))
    if problems:
        raise ConfigError(problems, name)
    return planned


async def run_plan(planned: Sequence[Planned], *, site: str, node: str) -> AsyncIterator[tuple[Planned, Result]]:
    """Run a plan and yield each result as it comes.

    What belongs to one site runs one after the other, so that no measurement of a line disturbs the next; several
    sites run at once. `site` stands for entries that name none.
    """
    by_site: defaultdict[str, list[Planned]] = defaultdict(list)
    for one in planned:
        by_site[one.entry.site or site].append(one)
    done: asyncio.Queue[tuple[Planned, Result]] = asyncio.Queue()
    turn = asyncio.Semaphore(_SITES_AT_ONCE)

    async def go(where: str, ones: Sequence[Planned]) -> None:
        async with turn:
            for one in ones:
                target = one.entry.target or str(getattr(one.check, "default_target", ""))
                done.put_nowait((one, await run(one.check, target, site=where, node=node)))

    async with asyncio.TaskGroup() as tasks:
        for where, ones in by_site.items():
            tasks.create_task(go(where, ones))
        for _ in planned:
            yield await done.get()


def _standard_input(name: str) -> object:
    try:
        return yaml.safe_load(sys.stdin) or []
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise ConfigError([("$", f"not valid YAML: {getattr(exc, 'problem', None) or exc}")], name) from None


def _planned(entry: Entry, path: str, problems: list[tuple[str, str]]) -> Planned | None:
    try:
        check = registry.make(entry.check, entry.parameters, f"{path}.with")
    except ConfigError as exc:  # the registry names no path where the check itself is unknown
        problems += [(f"{path}.check" if where == "$" else where, words) for where, words in exc.problems]
        return None
    except ImportError as exc:
        problems.append((f"{path}.check", f"{entry.check} needs the Python package {exc.name!r}, not installed here"))
        return None
    if not entry.target and not hasattr(check, "default_target"):
        problems.append((f"{path}.target", f"is missing: {check.target_help}"))
    return Planned(entry, check)

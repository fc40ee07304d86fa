"""`nhip check`: describe the checks, or run one now and judge it by the same limits as the collector."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from checks import describe, registry
from checks.batch import read_plan, run_plan
from checks.formats import FORMATS, nagios_line
from checks.limits import base_metric, load_limits
from checks.run import run
from checks.strict import ConfigError
from checks.verdict import State, judge_once

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from checks.check import Check
    from checks.limits import Limit

_EXAMPLES = """examples:
  nhip check run icmp_echo --target 10.92.0.1 --set count=20
  nhip check run http_get --target https://portal.example/ --set expected_phrase='Cổng dịch vụ công' --format nagios
  nhip check run --plan acceptance.yml --format json      many, one JSON object a line

exit codes: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (could not measure, or a mistake in the command)"""


_WORSE = (State.OK, State.WARNING, State.UNKNOWN, State.CRITICAL)
_LISTS: dict[str, Callable[[], str]] = {
    "text": describe.as_text,
    "json": lambda: json.dumps(describe.as_data(), ensure_ascii=False),
    "markdown": describe.as_markdown,
}


class _Parser(argparse.ArgumentParser):
    """A mistake in the command is UNKNOWN to a scheduler: argparse's own 2 would read as CRITICAL."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(State.UNKNOWN, f"{self.prog}: {message}\n")


def main(argv: Sequence[str]) -> int:
    """Run `nhip check …` and return its exit code."""
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as exc:
        return int(exc.code or 0)
    if arguments.action == "list":
        print(_LISTS[arguments.format]())
        return State.OK
    try:
        return _run(arguments) if arguments.plan is None else _run_plan(arguments)
    except ConfigError as exc:
        return _refuse(arguments, exc)
    except KeyboardInterrupt:
        return State.UNKNOWN


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="nhip check",
        description="Measure one thing now.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|run")
    listing = actions.add_parser("list", help="describe every check, its parameters and its metrics")
    listing.add_argument("--format", choices=tuple(_LISTS), default="text")
    running = actions.add_parser("run", help="run one check and judge what it found")
    running.add_argument("name", nargs="?", metavar="NAME", help=f"one of: {', '.join(registry.CHECKS)}")
    running.add_argument("--target", metavar="T", help="what to look at; `nhip check list` says in which form")
    running.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="a parameter of the check")
    words = "run all of a list of {id, check, target, with, site} instead; - is standard input"
    running.add_argument("--plan", metavar="FILE", help=words)
    running.add_argument("--format", choices=tuple(FORMATS), default="text")
    running.add_argument("--limits", metavar="FILE", type=Path, help="judge by these limits instead of the usual ones")
    running.add_argument("--site", metavar="S", default="", help="site to write into the result")
    running.add_argument("--node", metavar="N", default=socket.gethostname(), help="node to write into the result")
    return parser


def _run(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        raise ConfigError([("NAME", f"is missing: one of {', '.join(registry.CHECKS)}; or --plan FILE")])
    check = registry.make(arguments.name, _parameters(registry.load(arguments.name), arguments.set), "--set")
    limits = [limit for limit in load_limits(arguments.limits) if limit.check == arguments.name]
    _known_metrics(limits, check, str(arguments.limits))
    target = arguments.target if arguments.target is not None else getattr(check, "default_target", None)
    if target is None:
        raise ConfigError([("--target", f"is missing: {check.target_help}")])
    if not target.isprintable() or target.endswith("\\"):
        raise ConfigError([("--target", f"{target!r} has a control character or ends in a backslash")])
    result = asyncio.run(run(check, target, site=arguments.site, node=arguments.node))
    print(FORMATS[arguments.format](result, limits))
    return judge_once(result, limits)[0]


def _run_plan(arguments: argparse.Namespace) -> int:
    """Run a plan; the exit code is the worst state of all, and CRITICAL is worse than UNKNOWN."""
    alone = [name for name in ("name", "target", "set") if getattr(arguments, name)]
    if alone:
        words = f"has its own checks, targets and parameters: leave out {', '.join(alone)}"
        raise ConfigError([("--plan", words)])
    planned, limits = read_plan(arguments.plan), load_limits(arguments.limits)

    async def all_of_it() -> State:
        worst = State.OK
        async for one, result in run_plan(planned, site=arguments.site, node=arguments.node):
            own = [limit for limit in limits if limit.check == result.check]
            text = FORMATS[arguments.format](result, own)
            if arguments.format == "json":
                text = json.dumps({"id": one.entry.id, **json.loads(text)}, ensure_ascii=False)
            print(text, flush=True)
            worst = max(worst, judge_once(result, own)[0], key=_WORSE.index)
        return worst

    return asyncio.run(all_of_it())


def _parameters(check: type[Check], pairs: Sequence[str]) -> dict[str, Any]:
    """Read `key=value` pairs. Values are YAML (`[200, 301]`), but a parameter that is text is taken as it stands."""
    texts = {each.name for each in describe.parameters(check) if each.kind == "text"}
    given: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError([("--set", f"{pair!r} is not written key=value")])
        if key in given:
            raise ConfigError([(f"--set.{key}", "is given twice")])
        try:
            given[key] = text if key in texts else yaml.safe_load(text)
        except yaml.YAMLError:
            raise ConfigError([(f"--set.{key}", f"{text!r} is not a value; a list is written [200, 301]")]) from None
    return given


def _known_metrics(limits: Sequence[Limit], check: Check, source: str) -> None:
    known = sorted({base_metric(name) for name in check.metrics})
    problems = [
        ("$", f"{check.name} has no metric {limit.metric!r}; there are: {', '.join(known)}")
        for limit in limits
        if limit.metric not in known
    ]
    if problems:
        raise ConfigError(problems, source)


def _refuse(arguments: argparse.Namespace, exc: ConfigError) -> int:
    """Say what is wrong where the reader of each format looks for it."""
    if arguments.format == "nagios":
        print(nagios_line(arguments.name or "plan", State.UNKNOWN, "; ".join(exc.lines())))
    elif arguments.format == "json":
        print(
            json.dumps(
                {"check": arguments.name or "plan", "state": State.UNKNOWN.name, "error": "; ".join(exc.lines())}
            )
        )
    else:
        for line in exc.lines():
            print(f"nhip check: {line}", file=sys.stderr)
    return State.UNKNOWN

"""`nhip agent run|validate|status|measure --config FILE`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks import registry
from checks.strict import ConfigError, load_yaml

if TYPE_CHECKING:
    from agents.config import Make

DEFAULT_CONFIG = Path("/etc/nhip/agent.yml")
OK, PROBLEM = 0, 1


def main(argv: list[str], make: Make | None = None) -> int:
    """Run one of the agent's commands; `make` builds the checks, and is the registry's unless a test brings its own."""
    parser = argparse.ArgumentParser(prog="nhip agent", description="The service at a site.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|validate|status|measure")
    for name, words in (
        ("run", "measure, keep and send until SIGTERM; SIGHUP takes up a changed file"),
        ("validate", "print everything that is wrong with the file, or what it asks for (exit 1 or 0)"),
        ("status", "say how the running agent does (exit 0 well, 2 not running or not sending, 3 cannot tell)"),
        ("measure", "run one of the file's checks now, with a lease where it loads the line (exit as `nhip check`)"),
    ):
        command = commands.add_parser(name, help=words, description=words)
        command.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default %(default)s")
        if name == "measure":
            command.add_argument("check", metavar="CHECK", help="the check's name, as the file has it")
            command.add_argument("--target", metavar="T", help="which one, where the file has several of this check")
            command.add_argument(
                "--wait", type=float, default=300.0, metavar="S", help="for leave; default %(default)g"
            )
            command.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args(argv)
    if options.command == "status":
        return _status(options.config)
    step = _validate if options.command == "validate" else _run
    try:
        if options.command == "measure":
            return _measure(options, make or registry.make)
        return step(options.config, make or registry.make)
    except ConfigError as exc:
        print("\n".join(exc.lines()), file=sys.stderr)
        return PROBLEM


def _run(path: Path, make: Make) -> int:
    import asyncio
    import logging
    import sqlite3

    from agents.config import load
    from agents.service import Service

    logging.basicConfig(level=logging.INFO, format="nhip agent: %(message)s", stream=sys.stderr)
    config = load(path, make)

    async def serve() -> None:
        await Service(path, config, make).run()

    try:
        asyncio.run(serve())
    except BlockingIOError:
        print(f"nhip agent: another agent already works with {config.file.data}", file=sys.stderr)
        return PROBLEM
    except (OSError, sqlite3.Error) as exc:
        print(f"nhip agent: cannot work with {config.file.data}: {exc}", file=sys.stderr)
        return PROBLEM
    return OK


def _validate(path: Path, make: Make) -> int:
    from agents.config import load

    config = load(path, make)
    file = config.file
    hourly = sum(3600 / job.interval_seconds for job in config.jobs)
    print(f"{path}: OK: site {file.site}, node {file.node}, to {file.collector.url}")
    beat = f"a heartbeat every {file.heartbeat_seconds:g} s"
    print(f"{len(config.jobs)} checks, {hourly:,.0f} measurements an hour; {beat}")
    return OK


def _measure(options: argparse.Namespace, make: Make) -> int:
    import asyncio
    import logging

    from agents.config import load
    from agents.measure import measure, pick
    from checks.formats import FORMATS
    from checks.limits import load_limits
    from checks.verdict import State, judge_once

    logging.basicConfig(level=logging.WARNING, format="nhip agent: %(message)s", stream=sys.stderr)
    config = load(options.config, make)
    try:
        job = pick(config, options.check, options.target)
    except ConfigError as exc:
        raise ConfigError(exc.problems, str(options.config)) from None
    result = asyncio.run(measure(config, job, options.wait))
    if result is None:
        return State.UNKNOWN
    limits = [limit for limit in load_limits() if limit.check == job.check.name]
    print(FORMATS[options.format](result, limits))
    return judge_once(result, limits)[0]


def _status(path: Path) -> int:
    from agents.config import DEFAULT_DATA
    from agents.status import UNKNOWN, report

    try:
        written: dict[str, Any] = load_yaml(path, dict)  # a file that became wrong must not hide a running agent
    except ConfigError as exc:
        print("\n".join(exc.lines()), file=sys.stderr)
        return UNKNOWN
    code, words = report(Path(str(written.get("data", DEFAULT_DATA))))
    print(words)
    return code

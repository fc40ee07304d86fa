"""The one door: `nhip COMMAND …`. Each command's package is imported only when that command is called."""

from __future__ import annotations

import importlib
import os
import sys

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("collector.up.command", "everything on this machine: collector, agent and board"),
    "check": ("checks.command", "list the checks, or run one now"),
    "agent": ("agents.command", "the service at a site: run, validate, status"),
    "reflector": ("agents.reflector.command", "answer the sites' test packets at the data centre: run, validate"),
    "collector": ("collector.command", "receive, judge, tell: serve, validate, replay"),
    "diagnose": ("agents.diagnose.command", "where the fault is at a site: looked at now from every side"),
    "status": ("collector.ask.command:status", "how sites stand right now"),
    "incidents": ("collector.ask.command:incidents", "list, show, acknowledge, assign, comment and resolve incidents"),
    "maintenance": ("collector.ask.maintenance_command", "planned work: list, plan, cancel, and its announcement"),
    "report": ("collector.ask.report_command", "availability by site, service and month: text, CSV, HTML"),
    "inventory": ("inventory.command", "a province's sites, addresses and services: new, check, list"),
    "acceptance": ("inventory.acceptance_command", "whether a site works: plan what to measure, report what was"),
    "token": ("collector.tokens_command", "make, list and revoke access tokens"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; 2 for a command that does not exist."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if words else 2
    if words[0] == "--version":
        from importlib.metadata import version  # noqa: PLC0415  (only this answer needs it)

        print(f"nhip {version('nhip')}")
        return 0
    if words[0] not in COMMANDS:
        print(f"nhip: there is no command {words[0]!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module, _, function = COMMANDS[words[0]][0].partition(":")
    command = getattr(importlib.import_module(module), function or "main")
    try:
        return int(command(words[1:]))
    except BrokenPipeError:  # whoever read our output has seen enough: `nhip … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    return f"""Nhịp: network health of public offices. Measure at every site, find incidents within seconds, say where.

usage: nhip COMMAND [--help] …

{rows}

Try it on this machine:  nhip up
Ask one thing now:       nhip check run icmp_echo --target 127.0.0.1"""


if __name__ == "__main__":
    sys.exit(main())

"""`nhip status [SITE]` and `nhip incidents list|show|acknowledge|assign|comment|resolve|serious|report`."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from collector.ask.client import AskError, Client, add_options

if TYPE_CHECKING:
    from collections.abc import Callable

MARKS = {
    "en": {"red": "✖ red", "yellow": "▲ yellow", "green": "✔ green", "unknown": "? unknown"},
    "vi": {"red": "✖ đỏ", "yellow": "▲ vàng", "green": "✔ xanh", "unknown": "? chưa rõ"},
}
_WORDS = {
    "en": {"since": "since", "loss": "loss", "none": "no incident", "by": "acknowledged by"},
    "vi": {"since": "từ", "loss": "mất gói", "none": "không có sự cố", "by": "đã tiếp nhận:"},
}
_ON_ONE = {
    "show": "one incident with its timeline",
    "acknowledge": "say that you are at it",
    "assign": "say whose it is",
    "comment": "add a comment",
    "resolve": "end it by hand: what it was about is gone for good, or known to be over",
    "serious": "call it serious: its reports are due in 24 and 72 hours",
    "report": "a report of a serious one, drafted from its timeline, as Markdown",
}
_WORST_FIRST = ("red", "yellow", "unknown", "green")


def status(argv: list[str]) -> int:
    """Say how sites stand: exit code 0 all green, 1 yellow or unknown, 2 red, 3 not known."""
    parser = argparse.ArgumentParser(
        prog="nhip status",
        description="How sites stand right now; exit code 0 all green, 1 yellow or unknown, 2 red, 3 cannot tell.",
        epilog="Example: nhip status 31120 --language vi",
    )
    parser.add_argument("site", nargs="?", metavar="SITE", help="one site with its signals; all sites without")
    add_options(parser)
    return answered(parser.parse_args(argv), _status)


def incidents(argv: list[str]) -> int:
    """List, show or act on incidents: exit code 0, or 3 when the collector cannot be asked or refuses."""
    parser = argparse.ArgumentParser(
        prog="nhip incidents",
        description="What is open, what was, what is done about it. All but list, show and report need an operator.",
        epilog="Example: nhip incidents acknowledge 000012 --comment 'on my way' --token-file ~/token",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listed = commands.add_parser("list", help="incidents, newest first")
    listed.add_argument("--state", choices=("open", "resolved", "all"), default="open")
    listed.add_argument("--site", metavar="SITE")
    add_options(listed)
    for name, words in _ON_ONE.items():
        command = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        command.add_argument("incident", metavar="ID")
        if name == "assign":
            command.add_argument("--to", required=True, metavar="NAME")
        elif name == "serious":
            command.add_argument("--no", action="store_true", help="it is not")
        elif name == "report":
            command.add_argument("--hours", type=int, default=24, help="24 or 72; default %(default)s")
        if name not in ("show", "report"):
            command.add_argument("--comment", default="", metavar="TEXT", required=name == "comment")
        add_options(command)
    return answered(parser.parse_args(argv), _incidents)


def answered(options: argparse.Namespace, ask: Callable[[Client, argparse.Namespace], int]) -> int:
    """Do as a command says; exit code 3, and a line, where the collector does not answer or refuses."""
    try:
        return ask(Client(options.url, options.token_file, options.ca_file), options)
    except AskError as exc:
        print(f"nhip: {exc}", file=sys.stderr)
        return 3


def _status(client: Client, options: argparse.Namespace) -> int:
    if options.site is None:
        told = client.get("/api/v1/sites")
        sites = told["sites"]
    else:
        told = client.get("/api/v1/sites", options.site)
        sites = [told]
    if options.json:
        print(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        for site in sorted(sites, key=lambda site: (_WORST_FIRST.index(site["level"]), site["site"])):
            print(_site(site, options.language))
        for signal in told.get("signals", []) if options.site else []:
            print("   ", _signal(signal, options.language))
    levels = {site["level"] for site in sites}
    return 2 if "red" in levels else 0 if levels <= {"green"} else 1


def _incidents(client: Client, options: argparse.Namespace) -> int:
    path = "/api/v1/incidents"
    if options.command == "list":
        told = client.get(path, state=options.state, site=options.site)
        lines = [_incident(one, options.language) for one in told["incidents"]] or [_WORDS[options.language]["none"]]
    elif options.command == "show":
        told = client.get(path, options.incident)
        lines = [_incident(told, options.language)]
        lines += [f"    {_local(line['at'])}  {line['text'][options.language]}" for line in told["timeline"]]
    elif options.command == "report":
        print(client.text(path, options.incident, "report", hours=options.hours, language=options.language), end="")
        return 0
    else:
        body = {name: getattr(options, name) for name in ("comment", "to") if hasattr(options, name)}
        more = {"serious": not options.no} if options.command == "serious" else {}
        told = client.post(f"{path}/{quote(options.incident, safe='')}/{options.command}", {**body, **more})
        lines = [_incident(told, options.language)]
    print(json.dumps(told, ensure_ascii=False, indent=2) if options.json else "\n".join(lines))
    return 0


def _site(site: dict[str, Any], language: str) -> str:
    words = _WORDS[language]
    path = []
    if "rtt_median_seconds" in site:
        path.append(f"{site['rtt_median_seconds'] * 1000:.2f} ms")
    if "loss_ratio" in site:
        path.append(f"{site['loss_ratio']:.0%} {words['loss']}")
    since = f"  {words['since']} {_local(site['since'])}" if "since" in site else ""
    return f"{MARKS[language][site['level']]:<9}  {site['site']:<8} {site['name']}{since}  {', '.join(path)}".rstrip()


def _signal(signal: dict[str, Any], language: str) -> str:
    value = f" = {signal['value']:.6g}" if "value" in signal else ""
    reason = f"  ({signal['reason']})" if "reason" in signal else ""
    what = " ".join(part for part in (signal["check"], signal["target"], signal["metric"]) if part)
    return f"{MARKS[language][signal['level']]:<9}  {signal['node']}: {what}{value}{reason}"


def _incident(incident: dict[str, Any], language: str) -> str:
    until = f" – {_local(incident['resolved_at'])}" if "resolved_at" in incident else ""
    taken = f"  {_WORDS[language]['by']} {incident['acknowledged_by']}" if "acknowledged_by" in incident else ""
    where = f"{incident['site_name']} ({incident['site']})" if incident["site"] else incident["site_name"]
    text = incident["cause"]["text"][language]
    what = text if text.startswith(where) else f"{where}: {text}"
    to = f"  → {incident['assigned_to']}" if "assigned_to" in incident else ""
    return f"{incident['id']}  {incident['state']:<8}  {_local(incident['began_at'])}{until}  {what}{taken}{to}"


def _local(at: str) -> str:
    """Write an instant in this terminal's own time zone."""
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")

"""`nhip collector tell|routes|drill`: try a channel, see who would be called, prove that silence rings."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from collector.telling.hours import spans_of, zone_of
from collector.telling.routes import LOG, Book, Subject, areas_of

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from collector.config import Config
    from collector.incident import Severity

_FAILED = 1
_UNKNOWN = 3


def add_commands(commands: Any) -> None:
    """Add these commands to those of `nhip collector`."""
    from pathlib import Path

    from collector.ask.client import add_options

    tell = commands.add_parser(
        "tell",
        help="send a test message over a channel",
        description="Send one test message over a channel of the configuration: exit code 0 once it was taken.",
        epilog="Example: nhip collector tell duty --config /etc/nhip/collector.yml",
    )
    tell.add_argument("channel", metavar="CHANNEL")
    routes = commands.add_parser(
        "routes",
        help="who would be called now, and who next",
        description="Say who would be told of an incident at a place: the routes that take it, and each step after.",
        epilog="Example: nhip collector routes 31120 --at 2026-11-28T23:00 --config /etc/nhip/collector.yml",
    )
    routes.add_argument("place", metavar="PLACE", help="a site, an upstream, a service, or an incident's number")
    routes.add_argument("--severity", choices=("red", "yellow"), default="red")
    routes.add_argument("--at", metavar="TIME", help="another time than now, in the configuration's time zone")
    for command in (tell, routes):
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="collector.yml")
    drill = commands.add_parser(
        "drill",
        help="try that an alarm is heard, and that silence rings",
        description="Announce a drill, say what was heard of it, or list the last ones.",
        epilog="Example: nhip collector drill heard silence --by officer-1 --token-file ~/token",
    )
    actions = drill.add_subparsers(dest="action", required=True, metavar="ACTION")
    start = actions.add_parser("start", help="announce a drill (needs an operator's token)")
    start.add_argument("--announce-minutes", type=float, metavar="MINUTES", help="how long before its alarm")
    heard = actions.add_parser("heard", help="say that you got the alarm, or that the outside rang")
    heard.add_argument("heard", choices=("alarm", "silence"))
    heard.add_argument("--by", default="", metavar="NAME")
    listed = actions.add_parser("list", help="the last drills, newest first")
    for command in (start, heard, listed):
        add_options(command)


def tell(options: argparse.Namespace, config: Config) -> int:
    """Send a test message: 0 once it was taken, 1 where it was not, 3 where there is no such channel."""
    from collector.telling.channel import ChannelError
    from collector.telling.channels import LogChannel, open_channel
    from collector.telling.message import test_message

    known = {channel.channel: channel for channel in config.channels}
    if options.channel != LOG and options.channel not in known:
        print(f"no channel {options.channel!r} is listed; there are: {', '.join([LOG, *known])}", file=sys.stderr)
        return _UNKNOWN
    try:
        channel = LogChannel() if options.channel == LOG else open_channel(known[options.channel])
        began = time.monotonic()
        channel.send(test_message(channel.name, channel.language))
    except ChannelError as exc:
        print(f"channel {options.channel}: {exc}", file=sys.stderr)
        return _FAILED
    print(f"channel {options.channel}: taken after {time.monotonic() - began:.1f} s")
    return 0


def routes(options: argparse.Namespace, config: Config) -> int:
    """Print who would be told: 0, or 3 where nothing is known of such a place."""
    book = Book(config)
    try:
        now = _at(options.at, config)
    except ValueError:
        print(f"--at {options.at!r} is no time; write 2026-11-28T23:00", file=sys.stderr)
        return _UNKNOWN
    subject = subject_of(options.place, options.severity, config)
    if subject is None:
        print(f"{options.place!r} is no site, upstream, service or open incident here", file=sys.stderr)
        return _UNKNOWN
    print("\n".join(who(book, subject, now)))
    return 0


def who(book: Book, subject: Subject, now: int) -> list[str]:
    """Return, a line each, who is told of an incident at `now`, and who is called after them."""
    called = book.called(subject, now)
    by = f"route {', '.join(called.by)}" if called.by else "no route takes it"
    told = [_named(channel, whom) for channel, whom in called.channels.items()]
    when = "at once" if subject.severity == "red" else "in the next digest"
    lines = [f"{when:<12}  {', '.join(told)}  ({by})"]
    for escalation in called.escalations if subject.severity == "red" else ():
        for step in escalation.steps:
            then = now + int(step.after_minutes * 60e9)
            told = [_named(channel, whom) for channel, whom in book.resolve(step.tell, then).items()]
            lines.append(
                f"{f'+{step.after_minutes:g} min':<12}  {', '.join(told)}  (escalation {escalation.escalation})"
            )
        if escalation.repeat_minutes is not None:
            lines.append(f"{'':<12}  … again every {escalation.repeat_minutes:g} min, until somebody acknowledges")
    if missed := book.missed(subject) if subject.severity == "red" and book.routes else 0:
        lines.append(f"{'':<12}  no route takes it {spans_of(missed)}: then every channel is told")
    return lines


def subject_of(place: str, severity: Severity, config: Config) -> Subject | None:
    """Return an incident as routes see it, at a site, an upstream or a service; or the recorded one of that number."""
    sites = {site.site for site in config.sites}
    if place in sites:
        return Subject(severity, "silence", "", frozenset([place]))
    if place in {service.service for service in config.services}:
        return Subject(severity, "service", place, frozenset(sites or {place}))
    area = areas_of(config).get(place)
    if area is not None:
        return Subject(severity, "upstream" if area.upstreams else "path", place, area.sites)
    return _recorded(place, config.data / "collector.db")


def _recorded(number: str, database: Path) -> Subject | None:
    if not number.isdecimal() or not database.exists():
        return None
    import sqlalchemy as sa

    from collector.database import incidents, open_database
    from collector.record import incident_of

    engine = open_database(database)
    with engine.connect() as db:
        row = db.execute(sa.select(incidents).where(incidents.c.id == number.zfill(6))).mappings().first()
    engine.dispose()
    return None if row is None else Subject.of(incident_of(row))


def drill(options: argparse.Namespace) -> int:
    """Ask a running collector: 0, or 3 when it cannot be asked or does not do it."""
    from collector.ask.client import AskError, Client

    try:
        client = Client(options.url, options.token_file, options.ca_file)
        if options.action == "start":
            minutes = options.announce_minutes
            told = client.post("/api/v1/drills", {} if minutes is None else {"announce_minutes": minutes})
        elif options.action == "heard":
            told = client.post("/api/v1/drills/heard", {"heard": options.heard, "by": options.by})
        else:
            told = client.get("/api/v1/drills")
    except AskError as exc:
        print(f"nhip: {exc}", file=sys.stderr)
        return _UNKNOWN
    shown = told.get("drills", [told])
    words = "\n".join(_drill(each) for each in shown) or "there was no drill yet"
    print(json.dumps(told, ensure_ascii=False, indent=2) if options.json else words)
    return 0


def _drill(told: dict[str, Any]) -> str:
    fate = told["state"] if told["state"] != "over" else "passed" if told.get("passed") else "failed"
    alarm = f"alarm: {told.get('alarm_heard_by', 'nobody yet')}"
    silence = f", silence: {told.get('silence_heard_by', 'nobody yet')}" if told["signal_withheld"] else ""
    at = datetime.fromisoformat(told["alarm_at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return f"{told['id']:>3}  {at}  {fate:<9}  {alarm}{silence}"


def _named(channel: str, whom: str) -> str:
    return f"{whom} ({channel})" if whom and whom != channel else channel


def _at(text: str | None, config: Config) -> int:
    if text is None:
        return time.time_ns()
    at = datetime.fromisoformat(text)
    return int((at if at.tzinfo else at.replace(tzinfo=zone_of(config.telling.time_zone))).timestamp()) * 1_000_000_000

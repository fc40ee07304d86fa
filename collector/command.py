"""`nhip collector`: serve, validate, replay; and what belongs to telling people."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from checks.strict import ConfigError
from collector.config import Config
from collector.loading import load
from collector.telling import checking
from collector.telling import command as telling

_LONGEST_STEP = 5


def main(argv: list[str]) -> int:
    """Run one of the collector's commands and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="nhip collector",
        description="Receive measurements, judge them, tell people.",
        epilog="Example: nhip collector validate --config /etc/nhip/collector.yml",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, words in (("serve", "run the collector until it is told to stop"), ("validate", "check a configuration")):
        command = commands.add_parser(name, help=words, description=words.capitalize() + ".")
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="collector.yml")
    replay = commands.add_parser(
        "replay",
        help="judge a recording again: what would have been found, and what another configuration changes",
        description="Judge a recording by the very steps that judge live, and print signals and incidents. The "
        "recording is line protocol in files, each point of which arrives at its own timestamp; or, without files, the "
        "journal of a collector, which may be running: what it took in during the last hours, as it arrived.",
        epilog="Example: nhip collector replay --config try.yml --against /etc/nhip/collector.yml --from 6h",
    )
    replay.add_argument("files", nargs="*", metavar="FILE", help="line protocol, .gz too; - is standard input")
    replay.add_argument("--config", type=Path, metavar="NEW", help="judge by this configuration")
    replay.add_argument("--against", type=Path, metavar="OLD", help="print only what NEW changes beside this one")
    replay.add_argument("--data", type=Path, metavar="DIR", help="without files: whose journal; default: as NEW says")
    replay.add_argument(
        "--from", dest="start", metavar="TIME", help="leave out what came before: 6h (ago), or RFC 3339"
    )
    replay.add_argument("--to", dest="end", metavar="TIME", help="leave out what came then and later")
    replay.add_argument("--step", type=_seconds, metavar="SECONDS", help="so much arrives at once; default: by amount")
    replay.add_argument("--incidents", action="store_true", help="print incidents alone")
    replay.add_argument("--format", choices=("text", "json"), default="text")
    telling.add_commands(commands)
    options = parser.parse_args(argv)
    if options.command == "drill":
        return telling.drill(options)
    old = None
    if options.command == "replay":
        _refuse_half_questions(replay, options)
    try:
        config = load(options.config) if options.config else Config()
        if options.command == "replay" and options.against:
            old = load(options.against)
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return 1
    if options.command in ("tell", "routes"):
        return telling.tell(options, config) if options.command == "tell" else telling.routes(options, config)
    if options.command == "validate":
        return _validate(options.config, config)
    if options.command == "replay":
        from collector.replay import main as replay_main

        return replay_main(options, config, old)
    return _serve(config)


def _refuse_half_questions(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if not options.files and options.config is None and options.data is None:
        parser.error("nothing to judge: name files, --data DIR, or a --config that says where the journal is")
    if options.against is not None and options.config is None:
        parser.error("--against needs --config NEW: what is to be held against it")


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= _LONGEST_STEP:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and {_LONGEST_STEP} seconds")
    return value


def _validate(path: Path, config: Config) -> int:
    from collector.telling.address import Address, AddressError
    from collector.telling.channel import ChannelError
    from collector.telling.channels import open_channels

    try:
        open_channels(config.channels)
        if config.dead_man is not None:
            Address(config.dead_man.url_file)
    except AddressError as exc:
        print(f"{path}: $.dead_man.url_file: {exc}", file=sys.stderr)
        return 1
    except ChannelError as exc:
        print(f"{path}: $.channels: {exc}", file=sys.stderr)
        return 1
    print(
        f"{path}: is right. {len(config.sites)} sites, {len(config.services)} services, "
        f"{len(config.all_limits())} limits, {len(config.channels)} channels; listens on {config.listen}"
    )
    for line in checking.lines(config, time.time_ns()):
        print(f"  route {line}")
    for gap in checking.gaps(config):
        print(f"{path}: {gap}", file=sys.stderr)
    return 0


def _serve(config: Config) -> int:
    from collector import running

    running.log_to_stderr()
    for gap in checking.gaps(config):
        running.log.warning("%s", gap)
    try:
        collector, sock = running.open_collector(config)
    except running.START_ERRORS as exc:
        print(f"nhip collector: {exc}", file=sys.stderr)
        return 1
    scheme = "https" if config.tls else "http"
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    try:
        running.run_until_signal(collector, sock, lambda: print(f"serving on {scheme}://{shown}:{port}", flush=True))
    except running.START_ERRORS as exc:
        print(f"nhip collector: {exc}", file=sys.stderr)
        return 1
    return 0

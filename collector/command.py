"""`nhip collector`: serve, validate, replay; and what belongs to telling people."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from checks.strict import ConfigError
from collector.config import Config, load
from collector.telling import checking
from collector.telling import command as telling


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
        help="judge a recording as if it arrived now, and print what would have been found",
        description="Read line protocol as if each point arrived at its own timestamp; print signals and incidents.",
        epilog="Example: nhip collector replay yesterday.lp --format json | grep incident",
    )
    replay.add_argument("files", nargs="+", metavar="FILE", help="line protocol; - is standard input")
    replay.add_argument("--config", type=Path, metavar="FILE", help="judge by this configuration")
    replay.add_argument("--format", choices=("text", "json"), default="text")
    telling.add_commands(commands)
    options = parser.parse_args(argv)
    if options.command == "drill":
        return telling.drill(options)
    try:
        config = load(options.config) if options.config else Config()
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return 1
    if options.command in ("tell", "routes"):
        return telling.tell(options, config) if options.command == "tell" else telling.routes(options, config)
    if options.command == "validate":
        return _validate(options.config, config)
    if options.command == "replay":
        from collector.replay import main as replay_main

        return replay_main(options.files, config, options.format)
    return _serve(config)


def _validate(path: Path, config: Config) -> int:
    from collector.telling.address import Address, AddressError
    from collector.telling.channels import ChannelError, open_channels

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

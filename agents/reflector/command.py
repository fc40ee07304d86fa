"""`nhip reflector run|validate`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from checks.strict import ConfigError

if TYPE_CHECKING:
    from agents.reflector.config import ReflectorConfig

DEFAULT_CONFIG = Path("/etc/nhip/reflector.yml")
OK, PROBLEM = 0, 1
_EXAMPLES = """examples:
  nhip reflector run                                        for everybody on this machine, until Ctrl-C
  nhip check run stamp --target 127.0.0.1                   … and a measurement against it
  nhip reflector run --config /etc/nhip/reflector.yml       for the sites in the file, telling the collector"""


def main(argv: list[str]) -> int:
    """Run one of the reflector's commands."""
    options = _parser().parse_args(argv)
    try:
        if options.command == "validate":
            return _validate(options.config)
        path, config = _configuration(options)
    except ConfigError as exc:
        print("\n".join(f"nhip reflector: {line}" for line in exc.lines()), file=sys.stderr)
        return PROBLEM
    return _run(path, config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nhip reflector",
        description="Answer the test packets (STAMP, RFC 8762) of every site, and count them. Runs at the data centre.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|validate")
    run = commands.add_parser("run", help="answer until SIGTERM or Ctrl-C; SIGHUP takes up changed senders and keys")
    run.add_argument("--config", type=Path, metavar="FILE", help=f"default {DEFAULT_CONFIG}, if it is there")
    run.add_argument(
        "--listen",
        metavar="ADDRESS:PORT",
        help="without a file: where; default 127.0.0.1:862, and capacity tests on 8620",
    )
    validate = commands.add_parser("validate", help="print everything that is wrong with the file, or a summary")
    validate.add_argument("--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help="default %(default)s")
    return parser


def _configuration(options: argparse.Namespace) -> tuple[Path | None, ReflectorConfig]:
    """Return what to run with: a file, or a bare address."""
    from agents.reflector.config import DEFAULT_LISTEN, load, open_to_all

    if options.config is not None and options.listen is not None:
        raise ConfigError([("--listen", "is for running without a file; with --config, write it into the file")])
    path = options.config or (DEFAULT_CONFIG if options.listen is None and DEFAULT_CONFIG.exists() else None)
    if path is None:
        return None, open_to_all([options.listen or DEFAULT_LISTEN])
    return path, load(path)


def _run(path: Path | None, config: ReflectorConfig) -> int:
    import asyncio
    import logging
    import sqlite3

    from agents.reflector.datagrams import ListenError
    from agents.reflector.service import Service

    logging.basicConfig(level=logging.INFO, format="nhip reflector: %(message)s", stream=sys.stderr)

    async def serve() -> None:
        service = Service(path, config)
        who = f"{len(config.keys)} senders with keys" if config.keys is not None else "everybody who reaches it"
        lines = [f"reflecting STAMP on {text} for {who}" for text in config.file.listen]
        lines += [f"answering capacity tests on {text}" for text in config.capacity_addresses]
        await service.run(ready=lambda: print("\n".join(lines), flush=True))

    try:
        asyncio.run(serve())
    except BlockingIOError:
        print(f"nhip reflector: another reflector already works with {config.file.data}", file=sys.stderr)
        return PROBLEM
    except ListenError as exc:
        print(f"nhip reflector: cannot listen: {exc}", file=sys.stderr)
        return PROBLEM
    except (OSError, sqlite3.Error) as exc:
        print(f"nhip reflector: cannot start: {exc}", file=sys.stderr)
        return PROBLEM
    return OK


def _validate(path: Path) -> int:
    from agents.reflector.config import load

    config = load(path)
    who = "senders that prove who they are" if config.keys is not None else "known senders; everybody is answered"
    print(f"{path}: OK: listens on {', '.join(config.file.listen)}; {len(config.file.senders)} {who}")
    return OK

"""`nhip report availability`: what a time was like, for a manager, a spreadsheet or a terminal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from collector.ask.client import AskError, Client, add_address


def main(argv: list[str]) -> int:
    """Print a report, or write it to a file: exit code 0, or 3 when the collector cannot be asked."""
    parser = argparse.ArgumentParser(prog="nhip report", description="What a time was like.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    availability = commands.add_parser(
        "availability",
        help="how much of the time lines and services worked, by site and month",
        description="How much of the time each site's line and services worked, month by month. "
        "What counts as up, down and unknown: docs/availability.md.",
        epilog="Example: nhip report availability --from 2026-10 --to 2026-10 --format html --out october.html",
    )
    when = "a month (2026-10), a day (2026-10-31), or RFC 3339"
    availability.add_argument("--from", dest="start", metavar="TIME", help=f"{when}; default: this month")
    availability.add_argument("--to", dest="end", metavar="TIME", help="likewise, to its end; default: now")
    availability.add_argument("--site", metavar="SITE", help="one site alone")
    availability.add_argument("--service", metavar="SERVICE", help="one service alone")
    availability.add_argument("--format", choices=("text", "csv", "html", "json"), default="text")
    availability.add_argument("--language", choices=("vi", "en"), default="vi")
    availability.add_argument("--out", type=Path, metavar="FILE", help="write it there instead of printing it")
    add_address(availability)
    options = parser.parse_args(argv)
    try:
        report = _ask(options)
        if options.out is None:
            sys.stdout.buffer.write(report)
            sys.stdout.flush()
        else:
            options.out.write_bytes(report)
    except AskError as exc:
        print(f"nhip report: {exc}", file=sys.stderr)
        return 3
    except BrokenPipeError:
        raise
    except OSError as exc:
        print(f"nhip report: {options.out}: {exc.strerror}", file=sys.stderr)
        return 3
    return 0


def _ask(options: argparse.Namespace) -> bytes:
    asked = {
        "from": options.start,
        "to": options.end,
        "site": options.site,
        "service": options.service,
        "format": options.format,
        "language": options.language,
    }
    client = Client(options.url, options.token_file, options.ca_file)
    return client.text("/api/v1/reports/availability", **asked).encode()

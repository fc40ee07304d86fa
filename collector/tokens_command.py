"""`nhip token`: new, list, revoke."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

from collector.database import DatabaseError, open_database
from collector.tokens import ROLES, Role, Tokens
from collector.words import rfc3339


def main(argv: list[str]) -> int:
    """Run one of the token commands and return its exit code."""
    options = _parser().parse_args(argv)
    path = options.data / "collector.db"
    if not options.data.is_dir():
        print(f"nhip token: there is no folder {options.data}; --data is the collector's data folder", file=sys.stderr)
        return 1
    try:
        tokens = Tokens(open_database(path))
    except DatabaseError as exc:
        print(f"nhip token: {exc}", file=sys.stderr)
        return 1
    if options.command == "new":
        role = cast("Role", options.role) if options.role else "site"
        print(tokens.new(role, options.site))
        return 0
    if options.command == "list":
        for row in tokens.list():
            what = f"site {row['site']}" if row["site"] else row["role"]
            revoked = f"  revoked {rfc3339(cast('int', row['revoked_at']))}" if row["revoked_at"] else ""
            print(f"{row['id']:>4}  {what:<16}  made {rfc3339(cast('int', row['created_at']))}{revoked}")
        return 0
    if tokens.revoke(options.number):
        print(f"token {options.number} is revoked; a running collector stops taking it within 5 seconds")
        return 0
    print(f"nhip token: there is no token {options.number} to revoke; 'nhip token list' shows them", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nhip token",
        description="Tokens let a site's agent write, and people and programs read, act or administer.",
        epilog="Example: nhip token new --data /var/lib/nhip/collector --site 31120 > token",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="make a token and print it, alone; it is shown only this once")
    kind = new.add_mutually_exclusive_group(required=True)
    kind.add_argument("--site", type=_site, metavar="CODE", help="lets this site's agent write, for this site only")
    kind.add_argument(
        "--role", choices=ROLES, help="viewer reads; operator acknowledges too; admin also writes for any site"
    )
    listed = commands.add_parser("list", help="show every token without its secret")
    revoke = commands.add_parser("revoke", help="end a token")
    revoke.add_argument("number", type=int, help="its number in 'nhip token list'")
    for command in (new, listed, revoke):
        command.add_argument("--data", type=Path, required=True, metavar="DIR", help="the collector's data folder")
    return parser


def _site(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("a site's code must not be empty")
    return text

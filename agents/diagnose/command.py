"""`nhip diagnose SITE`: where the fault is, measured now from every side that can still be reached."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from checks.strict import ConfigError

if TYPE_CHECKING:
    from agents.diagnose.finding import Finding
    from agents.diagnose.inside import Login
    from agents.diagnose.looks import Sides
    from agents.diagnose.run import Diagnosis

_MARKS = {"well": "✔", "poor": "▲", "lost": "✖", "unknown": "?"}
_WELL = ("nothing",)
_WORDS = {
    "vi": {"next": "Nên thử trước", "took": "kiểm tra trong {took:.1f} giây"},
    "en": {"next": "Try first", "took": "looked at within {took:.1f} s"},
}


def main(argv: list[str]) -> int:
    """Diagnose a site: exit code 0 nothing is wrong, 2 a fault was found, 3 no verdict, or it cannot be looked at."""
    parser = _parser()
    options = parser.parse_args(argv)
    from inventory import topology

    try:
        inventory = topology.read(options.inventory)
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return 3
    site = next((each for each in inventory.sites if each.site == options.site), None)
    if site is None:
        asked = options.site.casefold()
        close = [f"{each.site} {each.name}" for each in inventory.sites if asked in each.name.casefold()]
        hint = f"; do you mean {', '.join(close[:3])}?" if close else ": `nhip inventory list` names them"
        print(f"nhip diagnose: {options.inventory} has no site {options.site!r}{hint}", file=sys.stderr)
        return 3
    known = [each.service for each in inventory.services]
    if unknown := [name for name in options.service if name not in known]:
        words = f"has no service {unknown[0]!r}; there are: {', '.join(known)}"
        print(f"nhip diagnose: {options.inventory} {words}", file=sys.stderr)
        return 3
    from agents.diagnose.looks import sides_of

    sides = sides_of(inventory, site, options.service)
    try:
        last = asyncio.run(_run(site.site, sides, _login(options, sides), options))
    except KeyboardInterrupt:
        return 3
    return 0 if last.verdict.where in _WELL else 3 if last.verdict.where == "unknown" else 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nhip diagnose",
        description="Look at a site from every side that can still be reached, and say where the fault is: LAN, "
        "gateway, line, upstream, data centre or service. Exit code 0 nothing is wrong, 2 a fault, 3 no verdict.",
        epilog="Example: nhip diagnose 31120 --inventory inventory/can-tho --language en",
    )
    folder = os.environ.get("NHIP_INVENTORY", "/etc/nhip/inventory")
    parser.add_argument("site", metavar="SITE", help="the site's code")
    parser.add_argument(
        "--inventory", type=Path, default=Path(folder), metavar="DIR",
        help="the province; default %(default)s, or the variable NHIP_INVENTORY",
    )  # fmt: skip
    parser.add_argument("--service", action="append", default=[], metavar="SERVICE", help="look at this service alone")
    parser.add_argument(
        "--seconds", type=_seconds, default=5.0, help="have a last verdict by then; default %(default)g"
    )
    parser.add_argument("--outside", action="store_true", help="do not log in to the site's gateway")
    parser.add_argument("--user", default="root", help="log in as; default %(default)s")
    parser.add_argument("--identity", type=Path, metavar="FILE", help="log in with this key; default: the user's own")
    parser.add_argument("--language", choices=("vi", "en"), default="vi")
    parser.add_argument("--json", action="store_true", help="two lines: what is known after two seconds; all")
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 1 <= value <= 60:  # noqa: PLR2004  (a person waits)
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and 60")
    return value


def _login(options: argparse.Namespace, sides: Sides) -> Login | None:
    """Return how to log in; None where nothing is pinned for the gateway: then nobody can be trusted to be it."""
    from agents.diagnose.inside import Login

    known = options.inventory / "known_hosts"
    if options.outside or sides.gateway is None or not _pinned(known, sides.gateway.address):
        return None
    return Login(known_hosts=known, user=options.user, identity=options.identity)


def _pinned(known: Path, host: str) -> bool:
    try:
        lines = known.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    named = [line.split()[0].split(",") for line in lines if line.strip() and not line.startswith(("#", "@"))]
    return any(host in names or any(name.startswith("|1|") for name in names) for names in named)


async def _run(site: str, sides: Sides, login: Login | None, options: argparse.Namespace) -> Diagnosis:
    from agents.diagnose.run import diagnose

    last: Diagnosis | None = None
    async for last in diagnose(site, sides, login, seconds=options.seconds):
        if options.json:
            print(json.dumps(last.told(), ensure_ascii=False), flush=True)
    assert last is not None  # noqa: S101  (there are always two)
    if not options.json:
        print(_text(last, options.language))
    return last


def _text(diagnosis: Diagnosis, language: str) -> str:
    words, verdict = _WORDS[language], diagnosis.verdict
    lines = [verdict.text[language], f"{words['next']}: {verdict.next[language]}", ""]
    lines += [_line(finding, language) for finding in diagnosis.findings]
    return "\n".join([*lines, "", words["took"].format(took=diagnosis.took_seconds)])


def _line(finding: Finding, language: str) -> str:
    return f"  {_MARKS[finding.state]} {finding.text[language]}"

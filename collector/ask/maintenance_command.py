"""`nhip maintenance list|plan|cancel|notice`: planned work, to which nobody is called."""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from collector.ask.client import add_options
from collector.ask.command import answered

if TYPE_CHECKING:
    from collector.ask.client import Client

_PATH = "/api/v1/maintenance"
_WORDS = {
    "en": {"none": "nothing is planned", "on": "on now", "by": "announce by", "gone": "is called off"},
    "vi": {"none": "không có lịch bảo trì", "on": "đang bảo trì", "by": "thông báo trước ngày", "gone": "đã hủy"},
}


def main(argv: list[str]) -> int:
    """Do one of them: exit code 0, or 3 when the collector cannot be asked or refuses."""
    parser = argparse.ArgumentParser(
        prog="nhip maintenance",
        description="Planned work: measured as ever, and nobody is called to it. plan and cancel need an operator.",
        epilog="Example: nhip maintenance plan firmware --upstream pop_ninh_kieu --start 2026-12-05T22:00 "
        "--end 2026-12-06T02:00 --reason 'Switch firmware' --token-file ~/token",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listed = commands.add_parser("list", help="what is on or to come, the earliest first")
    plan = commands.add_parser("plan", help="plan work, once or every week")
    cancel = commands.add_parser("cancel", help="call planned work off")
    notice = commands.add_parser("notice", help="its announcement, drafted, with the day by which it must be out")
    for command in (plan, cancel, notice):
        command.add_argument("window", metavar="NAME")
    for name in ("site", "upstream", "service"):
        plan.add_argument(
            f"--{name}", dest=f"{name}s", action="append", default=[], metavar="ID", help="may be repeated"
        )
    plan.add_argument("--everything", action="store_true")
    plan.add_argument("--start", metavar="TIME", help="2026-12-05T22:00, in the window's time zone or with one")
    plan.add_argument("--end", metavar="TIME")
    plan.add_argument(
        "--weekly", action="append", default=[], metavar="SPAN", help="'sun 01:00-03:00', may be repeated"
    )
    plan.add_argument("--time-zone", default="Asia/Ho_Chi_Minh", metavar="ZONE")
    plan.add_argument("--reason", default="", metavar="TEXT")
    for command in (listed, plan, cancel, notice):
        add_options(command)
    return answered(parser.parse_args(argv), _do)


def _do(client: Client, options: argparse.Namespace) -> int:
    words = _WORDS[options.language]
    if options.command == "notice":
        print(client.text(_PATH, options.window, "notice", language=options.language), end="")
        return 0
    if options.command == "cancel":
        client.delete(_PATH, options.window)
        print(f"{options.window}: {words['gone']}")
        return 0
    if options.command == "plan":
        names = ("window", "sites", "upstreams", "services", "everything", "weekly", "time_zone", "reason")
        body = {name: getattr(options, name) for name in names}
        times = {name: _with_seconds(getattr(options, name)) for name in ("start", "end") if getattr(options, name)}
        told = client.post(_PATH, {**body, **times})
        shown = [_line(told, words)]
    else:
        told = client.get(_PATH)
        shown = [_line(window, words) for window in told["windows"]] or [words["none"]]
    print(json.dumps(told, ensure_ascii=False, indent=2) if options.json else "\n".join(shown))
    return 0


def _with_seconds(at: str) -> str:
    """Let people leave the seconds out; anything else goes as it is, and the collector says what is wrong with it."""
    try:
        return datetime.fromisoformat(at).isoformat()
    except ValueError:
        return at


def _line(window: dict[str, Any], words: dict[str, str]) -> str:
    start, end = (datetime.fromisoformat(window[side]).astimezone() for side in ("start", "end"))
    places = [name for kind in ("upstreams", "sites", "services") for name in window.get(kind, ())]
    where = "*" if window.get("everything") else ", ".join(places)
    when = f"{start:%Y-%m-%d %H:%M} – {end:%Y-%m-%d %H:%M}"
    state = words["on"] if window["on"] else f"{words['by']} {window['announce_by']}"
    reason = f"  {window['reason']}" if "reason" in window else ""
    return f"{window['window']}  {when}  {where}  ({state}){reason}"

"""The command `tests/lab/lab`: a province to rehearse on, and to put out of order."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks.strict import ConfigError
from tests.lab import quantities, rehearse
from tests.lab.client import INVENTORY, Lab
from tests.lab.places import DEFAULT
from tests.lab.plan import PlanError
from tests.lab.programs import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

_EPILOG = """
a province
  lab up                           boot it: real Debian hosts, the carrier's network, a control node
  lab status                       hosts, lines, and what is out of order
  lab ansible playbooks/site.yml   run ansible-playbook at the control node, with the lab's inventory and key
  lab ssh 31120-gateway            over the network, as Ansible comes in
  lab run 31120-gateway ip route   at the console: works with every line cut
  lab open                         the live board, at an address on this machine
  lab down                         take all of it away

  lab rehearse                     all of that in one: boot, provision, accept, open the board, stay until Ctrl-C

lines: a site by its code, its second line as CODE-2, a point of presence, or uplink (the data centre's own)
  lab cut 31120                    nothing passes, the link light stays on (--unplug: it goes out)
  lab slow 31120 100ms             a round trip takes 100 ms longer
  lab lossy 31120 5%               5 % of packets are lost, each way
  lab limit 31120 5mbit            the line's rate
  lab impair 31120 jitter=20ms reorder=2% duplicate=1% corrupt=0.1% --way down
  lab mtu 31120 1400               longer packets vanish without a word
  lab clock 31120 30s              by the time servers it asks, the site's clocks are 30 s ahead (--behind: late)

hosts
  lab power-off HOST, power-on HOST, reboot HOST     as at the wall socket; the disk keeps what was written
  lab fill-disk HOST               no room for anybody
  lab stop-service HOST UNIT, start-service HOST UNIT
  lab kill-service HOST UNIT       killed, it does not come back by itself

what else there is: the city's one-stop system and name server (one-stop), a UPS at each site (ups@10.92.1.250:3493)
  lab stop-service one-stop web    the one-stop system is down; dns: its name server
  lab wrong-dns                    every name leads nowhere
  lab expire-certificate           the one-stop system's certificate ran out (--days 5: soon will)
  lab on-battery 31120             the site lives on its UPS
  lab rogue-dhcp 31120             a stranger's DHCP server on the site's LAN

the way back
  lab heal 31120                   a site, a line or a host as it was; heal all: everything
"""


_PASSED_ON = {"ssh": 1, "run": 1, "control": 0, "ansible": 0}  # verbs that hand on what comes after so many words


def main(argv: list[str] | None = None) -> int:
    """Run one verb; 0 when it is done, 1 with one message when it cannot be."""
    words = (sys.argv[1:] if argv is None else argv) or ["--help"]
    at = next((number for number, word in enumerate(words) if word in _PASSED_ON), len(words))
    at += _PASSED_ON.get(words[at], 0) + 1 if at < len(words) else 0
    options = _parser().parse_args(words[:at])
    options.words = words[at:] or getattr(options, "words", [])  # what follows is for another program, options and all
    try:
        return int(options.do(Lab(options.name), options) or 0)
    except (LabError, PlanError, ConfigError) as exc:
        print(f"lab: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _up(lab: Lab, options: argparse.Namespace) -> None:
    Lab.up(lab.places.name, inventory=options.inventory, only=options.only, attached=False)
    command = lab.places.command
    print(f"The province is up. Next:\n  {command} status\n  {command} ansible playbooks/site.yml")


def _down(lab: Lab, _: argparse.Namespace) -> None:
    print("taken away" if lab.down() else "there was nothing to take away")


def _status(lab: Lab, _: argparse.Namespace) -> None:
    told = lab.ask("status")
    rows = []
    for site, name in told["sites"].items():
        rows.append((site, name, "", _faults(told, site, *_ON_SITE)))
        rows += [
            (f"  {host}", each["address"], each["state"], _faults(told, host))
            for host, each in told["hosts"].items() if each["site"] == site
        ]  # fmt: skip
    rows.append(("one-stop", told["one_stop"], "", _faults(told, "one-stop")))
    lines = told["lines"].items()
    rows += [
        ("", "", "", ""),
        *((name, f"{each['upper']} – {each['lower']}", "", _faults(told, name)) for name, each in lines),
    ]
    _table(rows)
    if told["board"]:
        print(f"\nboard  {told['board']}")


_ON_SITE = ("ups", "dhcp")  # faults of a site that its line has nothing to do with


def _faults(told: dict[str, Any], place: str, *kinds: str) -> str:
    found = told["faults"].get(place, {})
    return "; ".join(words for kind, words in found.items() if (kind in kinds if kinds else kind not in _ON_SITE))


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _exec(command: list[str]) -> None:
    sys.stdout.flush()
    os.execvp(command[0], command)  # noqa: S606  (our own commands, as a list)


def _ssh(lab: Lab, options: argparse.Namespace) -> None:
    _exec(lab.ssh_command(options.host, *options.words))


def _run(lab: Lab, options: argparse.Namespace) -> None:
    _exec(lab.console_command(options.host, *(options.words or ["bash", "-l"])))


def _control(lab: Lab, options: argparse.Namespace) -> None:
    lab.ask("status")
    _exec(lab.in_control(*(options.words or ["bash"])))


def _ansible(lab: Lab, options: argparse.Namespace) -> None:
    lab.ask("status")
    _exec(lab.ansible_command(*options.words))


def _open(lab: Lab, options: argparse.Namespace) -> None:
    print(rehearse.open_board(lab, options.port))


def _rehearse(lab: Lab, options: argparse.Namespace) -> int:
    return rehearse.rehearse(lab.places.name, options.inventory, options.only, options.port)


def _cut(lab: Lab, options: argparse.Namespace) -> None:
    print(lab.ask("cut", line=options.line, ways=options.way, unplug=options.unplug))


def _impaired(changes: Callable[[Any], dict[str, Any]], words: str) -> Callable[[Lab, argparse.Namespace], None]:
    def do(lab: Lab, options: argparse.Namespace) -> None:
        behind = getattr(options, "behind", False)
        value = -options.value if behind else options.value
        said = words.format(options.typed).replace("ahead", "behind" if behind else "ahead")
        print(lab.ask("impair", line=options.line, changes=changes(value), words=said, ways=options.way))

    return do


_KINDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "delay": ("delay_seconds", quantities.duration),
    "jitter": ("jitter_seconds", quantities.duration),
    "loss": ("loss_ratio", quantities.ratio),
    "burst": ("loss_burst", float),
    "reorder": ("reorder_ratio", quantities.ratio),
    "duplicate": ("duplicate_ratio", quantities.ratio),
    "corrupt": ("corrupt_ratio", quantities.ratio),
    "rate": ("rate_bits_per_second", quantities.rate),
    "queue": ("queue_seconds", quantities.duration),
    "mtu": ("mtu", quantities.packet_bytes),
}


def _impair(lab: Lab, options: argparse.Namespace) -> None:
    changes = {}
    for word in options.words:
        name, _, text = word.partition("=")
        if name not in _KINDS or not text:
            raise LabError(f"{word!r} is not NAME=VALUE with a name of: {', '.join(_KINDS)}")
        try:
            changes[_KINDS[name][0]] = _KINDS[name][1](text)
        except (argparse.ArgumentTypeError, ValueError) as exc:
            raise LabError(f"{name}: {exc}") from None
    print(lab.ask("impair", line=options.line, changes=changes, words=" ".join(options.words), ways=options.way))


def _asked(verb: str, *names: str) -> Callable[[Lab, argparse.Namespace], None]:
    def do(lab: Lab, options: argparse.Namespace) -> None:
        print(lab.ask(verb, **{name: getattr(options, name) for name in names}))

    return do


def _heal(lab: Lab, options: argparse.Namespace) -> None:
    ended = lab.ask("heal", place=options.place)
    print("\n".join(f"healed {each}" for each in ended) or "nothing was out of order")


class _Typed(argparse.Action):
    """Keeps a quantity, and how it was typed for `lab status`."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, _: Any = None
    ) -> None:
        try:
            setattr(namespace, self.dest, self.metavar_reader(values))
        except argparse.ArgumentTypeError as exc:
            parser.error(str(exc))
        namespace.typed = values

    metavar_reader: Callable[[str], Any]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lab", description="A virtual province on this machine: real hosts, real lines, and faults as verbs.",
        epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, usage="lab [--name NAME] VERB …",
    )  # fmt: skip
    parser.add_argument("--name", default=DEFAULT, help="which lab, where several are up (default: %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", help=argparse.SUPPRESS, prog="lab")

    def verb(name: str, do: Callable[[Lab, argparse.Namespace], object], words: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=argparse.SUPPRESS, description=words)
        made.set_defaults(do=do)
        return made

    up = verb("up", _up, "Boot a province.")
    whole = verb("rehearse", _rehearse, "Boot a province, provision and accept it, open its board, and stay.")
    for made in (up, whole):
        made.add_argument("--inventory", type=Path, default=INVENTORY, metavar="DIR", help="default: inventory/lab")
        made.add_argument(
            "--only", action="append", default=[], metavar="SITE", help="only this site (may be repeated)"
        )
    door = verb("open", _open, "Open the live board at an address on this machine.")
    for made in (door, whole):
        made.add_argument("--port", type=int, default=0, help="on loopback; default: a free one")
    verb("down", _down, "Take everything of the lab away.")
    verb("status", _status, "Hosts, lines, and what is out of order.")
    for name, do, words in (
        ("ssh", _ssh, "Log in at a host over the network, or run a command there."),
        ("run", _run, "Run a command at a host's console, without any network; a shell by default."),
    ):
        made = verb(name, do, words)
        made.add_argument("host")
        made.usage = f"lab {name} HOST [COMMAND …]"
    for name, do, words in (
        ("control", _control, "Run a command at the control node; a shell by default."),
        ("ansible", _ansible, "Run ansible-playbook at the control node with the lab's inventory and key."),
    ):
        verb(name, do, words).usage = f"lab {name} [WORDS …]"
    _line_verbs(verb)
    for name, do, words in (
        ("power-off", _asked("power_off", "host"), "Take a host's power away."),
        ("power-on", _asked("power_on", "host"), "Give a host its power back."),
        ("reboot", _asked("reboot", "host"), "Take a host's power away and give it back."),
        ("fill-disk", _asked("fill_disk", "host"), "Leave no room on a host's disk."),
    ):
        verb(name, do, words).add_argument("host")
    for name, words in (
        ("stop-service", "Stop a service."),
        ("start-service", "Start a service."),
        ("kill-service", "Kill a service; start-service brings it back, systemd does not."),
    ):
        made = verb(name, _asked(name.replace("-", "_"), "host", "unit"), words)
        made.add_argument("host", help="a host, or one-stop")
        made.add_argument("unit", help="a unit of systemd's; of one-stop web or dns")
    verb("wrong-dns", _asked("wrong_dns"), "Let the city's name server send everybody to an address where nobody is.")
    expire = verb("expire-certificate", _asked("expire_certificate", "days"), "Let the one-stop certificate run out.")
    expire.add_argument("--days", type=float, default=-1.0, metavar="N", help="days that are left")
    for name, words in (("on-battery", "Take the mains from a site's UPS."), ("rogue-dhcp", "Plug in a DHCP server.")):
        verb(name, _asked(name.replace("-", "_"), "site"), words).add_argument("site")
    verb("heal", _heal, "End faults.").add_argument("place", help="a site, a line, a host, or all")
    return parser


def _line_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    def line(name: str, do: Callable[[Lab, argparse.Namespace], object], words: str) -> argparse.ArgumentParser:
        made = verb(name, do, words)
        made.add_argument("line", help="a site's code, CODE-2 for its second line, a point of presence, or uplink")
        made.add_argument(
            "--way", action="append", choices=("up", "down"), help="one direction: up is to the data centre"
        )
        return made

    line("cut", _cut, "Let nothing pass.").add_argument(
        "--unplug", action="store_true", help="pull the plug at the site"
    )
    for name, reader, metavar, changes, said, words in (
        ("slow", quantities.duration, "100ms", lambda s: {"delay_seconds": s / 2}, "{} slower",
         "Make round trips longer."),
        ("lossy", quantities.ratio, "5%", lambda r: {"loss_ratio": r}, "{} lost", "Lose packets, each way."),
        ("limit", quantities.rate, "20mbit", lambda r: {"rate_bits_per_second": r}, "limited to {}", "Limit the rate."),
        ("mtu", quantities.packet_bytes, "1400", lambda b: {"mtu": b}, "over {} bytes vanish",
         "Lose packets that are longer, without a word."),
        ("clock", quantities.duration, "30s", lambda s: {"clock_shift_seconds": -s}, "clocks {} ahead",
         "Let the site's clocks be ahead by what time servers say there (a host's own clock is this machine's)."),
    ):  # fmt: skip
        action = type("Typed", (_Typed,), {"metavar_reader": staticmethod(reader)})
        made = line(name, _impaired(changes, said), words)
        made.add_argument("value", action=action, metavar=metavar)
        if name == "clock":
            made.add_argument("--behind", action="store_true", help="behind, not ahead")
    line("impair", _impair, f"Do several things to a line: {', '.join(_KINDS)}.").add_argument(
        "words", nargs="+", metavar="NAME=VALUE"
    )


if __name__ == "__main__":
    sys.exit(main())

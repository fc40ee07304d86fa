"""`nhip inventory new|secrets|check|list`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inventory.places import Problems
    from inventory.plan import ProvincePlan
    from inventory.topology import Inventory

OK, PROBLEM = 0, 1
_ROLES = Path("playbooks/roles")
_OPENS = "holds the password of the vault; default DIR/.vault-password, which is made where it is missing"
_EXAMPLES = """from the official list to the first playbook:
  nhip inventory list "hoa an, cao"                              a commune's code, with or without accents
  nhip inventory new --province 92 --out inventory/can-tho       the whole province
  nhip inventory new --province 92 --only 31120,31135 --out DIR  a pilot: its addresses stay when the rest follows
  nhip inventory check inventory/can-tho                         after every change

The folder is an inventory of Ansible at the same time:  ansible-inventory -i inventory/can-tho --graph"""


def main(argv: list[str]) -> int:
    """Run one of the inventory's commands and return its exit code."""
    options = _parser().parse_args(argv)
    return {"new": _new, "secrets": _secrets, "check": _check, "list": _list}[options.command](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nhip inventory",
        description="One source of truth about a province: what the playbooks provision and the collector judges.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="new|secrets|check|list")
    words = "write a province's whole inventory from the official list: upstreams, sites, addresses, services, secrets"
    new = commands.add_parser("new", help=words, description=words)
    new.add_argument("--province", required=True, metavar="CODE", help="two digits; `nhip inventory list` prints them")
    new.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that is new or empty")
    new.add_argument("--only", default="", metavar="CODES", help="some communes, by code: 31120,31135 (a pilot)")
    new.add_argument("--upstreams", type=int, metavar="N", help="how many points of presence to assume")
    new.add_argument("--vault-password-file", type=Path, metavar="FILE", help=_OPENS)
    new.add_argument("--without-secrets", action="store_true", help="leave the vault for `nhip inventory secrets`")
    words = "write fresh secrets, encrypted, into an inventory that has none"
    secrets = commands.add_parser("secrets", help=words, description=words)
    secrets.add_argument("folder", type=Path, metavar="DIR")
    secrets.add_argument("--vault-password-file", type=Path, metavar="FILE", help=_OPENS)
    words = "print everything that is wrong, each with its file and line (exit 1), or what there is (exit 0)"
    check = commands.add_parser("check", help=words, description=words)
    check.add_argument("folder", type=Path, metavar="DIR")
    words = "where roles declare their variables; default playbooks/roles, if there"
    check.add_argument("--roles", type=Path, metavar="DIR", help=words)
    words = "opens the vault, to see that no secret is missing; default DIR/.vault-password, if there"
    check.add_argument("--vault-password-file", type=Path, metavar="FILE", help=words)
    check.add_argument("--format", choices=["text", "json"], default="text")
    words = "print provinces, or the communes with TEXT in their code or name, with or without accents"
    units = commands.add_parser("list", help=words, description=words)
    units.add_argument("text", nargs="?", default="", metavar="TEXT")
    return parser


def _new(options: argparse.Namespace) -> int:
    from inventory.plan import plan_province
    from inventory.vault import VaultError

    out: Path = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        return _say(f"{out} is not empty, and an inventory that is there is never written over: name a new folder")
    only = [code.strip() for code in options.only.split(",") if code.strip()]
    try:
        plan = plan_province(options.province, only, options.upstreams)
        kept = _write(plan, out, options)
    except (ValueError, VaultError) as exc:
        return _say(str(exc))
    except OSError as exc:
        return _say(f"{exc.filename}: {exc.strerror}")
    print(f"{out}: {plan.name}, {len(plan.sites)} communes behind {len(plan.upstreams)} points of presence")
    if kept:
        print(f"The password of its secrets is in {kept}: keep a copy of it apart from this machine.")
    print(f"What is assumed says so in its file. Put in what you know, then: nhip inventory check {out}")
    return OK


def _write(plan: ProvincePlan, out: Path, options: argparse.Namespace) -> Path | None:
    """Write every file; the vault first, because it is what may not work here."""
    from inventory.new import files
    from inventory.vault import write_secrets

    made = files(plan)
    out.mkdir(parents=True, exist_ok=True)
    kept = None if options.without_secrets else write_secrets(out, options.vault_password_file)
    for name, text in made.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return kept


def _secrets(options: argparse.Namespace) -> int:
    from inventory.vault import BACKUP, VAULT, VaultError, write_secrets

    if not options.folder.is_dir():
        return _say(_no_folder(options.folder))
    try:
        kept = write_secrets(options.folder, options.vault_password_file)
    except VaultError as exc:
        return _say(str(exc))
    except OSError as exc:
        return _say(f"{exc.filename}: {exc.strerror}")
    print(f"{options.folder}: made {VAULT} and {BACKUP}")
    print(f"The password is in {kept}: keep a copy of it apart from this machine.")
    return OK


def _check(options: argparse.Namespace) -> int:
    from inventory.check import problems_of
    from inventory.vault import vault_problems

    folder: Path = options.folder
    if not folder.is_dir():
        return _say(_no_folder(folder))
    if options.roles and not options.roles.is_dir():
        return _say(f"{options.roles} is no folder: name the one with the roles, for example playbooks/roles")
    roles = options.roles or (_ROLES if _ROLES.is_dir() else None)
    inventory, problems = problems_of(folder, roles)
    shut, remark = vault_problems(folder, options.vault_password_file)
    problems += shut
    if options.format == "json":
        _print_json(problems)
    elif problems:
        print("\n".join(f"{folder}/{place}: {words}" for place, words in problems), file=sys.stderr)
    else:
        print(f"{folder}: {_summary(inventory)}; nothing is wrong")
    if remark and options.format == "text":
        print(f"note: {remark}", file=sys.stderr if problems else sys.stdout)
    return PROBLEM if problems else OK


def _print_json(problems: Problems) -> None:
    for place, words in problems:
        file, colon, line = place.rpartition(":")
        numbered = colon and line.isdecimal()
        told = {"file": file if numbered else place, "line": int(line) if numbered else None, "problem": words}
        print(json.dumps(told, ensure_ascii=False))


def _summary(inventory: Inventory) -> str:
    return (
        f"{inventory.province_name}, {len(inventory.sites)} sites with {len(inventory.nodes)} hosts behind "
        f"{len(inventory.upstreams)} upstreams, {len(inventory.services)} services"
    )


def _list(options: argparse.Namespace) -> int:
    from inventory.units import of_province, provinces, search

    if not options.text:
        for code, name in provinces().items():
            print(f"{code}  {name}  ({len(of_province(code))} communes)")
        return OK
    found = search(options.text)
    for unit in found:
        print(f"{unit.code}  {unit.name}, {unit.province_name} ({unit.province})")
    return OK if found else _say(f"no commune's code or name has a word that begins with {options.text!r}")


def _no_folder(folder: Path) -> str:
    return f"{folder} is no folder: an inventory is one, `nhip inventory new` makes it"


def _say(words: str) -> int:
    print(f"nhip inventory: {words}", file=sys.stderr)
    return PROBLEM

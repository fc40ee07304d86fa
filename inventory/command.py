"""`nhip inventory new|check|list`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inventory.plan import ProvincePlan
    from inventory.topology import Inventory

OK, PROBLEM = 0, 1
_ROLES = Path("playbooks/roles")


def main(argv: list[str]) -> int:
    """Run one of the inventory's commands and return its exit code."""
    options = _parser().parse_args(argv)
    return {"new": _new, "check": _check, "list": _list}[options.command](options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nhip inventory",
        description="One source of truth about a province: what the playbooks provision and the collector judges.",
        epilog="Begin with:  nhip inventory new --province 92 --out inventory/can-tho",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="new|check|list")
    words = "write a province's whole inventory from the official list: upstreams, sites, addresses, services"
    new = commands.add_parser("new", help=words, description=words)
    new.add_argument("--province", required=True, metavar="CODE", help="two digits; `nhip inventory list` prints them")
    new.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that is new or empty")
    new.add_argument("--only", default="", metavar="CODES", help="some communes, by code: 31117,31120 (a pilot)")
    new.add_argument("--upstreams", type=int, metavar="N", help="how many points of presence to assume")
    new.add_argument(
        "--vault-password-file",
        type=Path,
        metavar="FILE",
        help="holds the password of the vault; without it a new one is made, in DIR/.vault-password",
    )
    words = "print everything that is wrong, each with its file and line (exit 1), or what there is (exit 0)"
    check = commands.add_parser("check", help=words, description=words)
    check.add_argument("folder", type=Path, metavar="DIR")
    check.add_argument(
        "--roles",
        type=Path,
        metavar="DIR",
        help="where roles declare their variables; default playbooks/roles, if there",
    )
    check.add_argument("--format", choices=["text", "json"], default="text")
    words = "print provinces, or communes whose code or name contains TEXT, with or without accents"
    units = commands.add_parser("list", help=words, description=words)
    units.add_argument("text", nargs="?", default="", metavar="TEXT")
    return parser


def _new(options: argparse.Namespace) -> int:
    from inventory.plan import plan_province
    from inventory.vault import VaultError

    out: Path = options.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        print(
            f"{out} is not empty: an inventory that is there is never written over; name a new folder", file=sys.stderr
        )
        return PROBLEM
    only = [code.strip() for code in options.only.split(",") if code.strip()]
    try:
        plan = plan_province(options.province, only, options.upstreams)
        _write(plan, out, options.vault_password_file)
    except (ValueError, VaultError) as exc:
        print(exc, file=sys.stderr)
        return PROBLEM
    except OSError as exc:
        print(f"{exc.filename}: {exc.strerror}", file=sys.stderr)
        return PROBLEM
    print(f"{out}: {plan.name}, {len(plan.sites)} communes behind {len(plan.upstreams)} points of presence")
    print("What is assumed says so in its file. Read it, put in what you know, then: nhip inventory check", out)
    return OK


def _write(plan: ProvincePlan, out: Path, password_file: Path | None) -> None:
    """Write every file; the vault first, because it is what may not work here."""
    from inventory.new import files
    from inventory.vault import PASSWORD_FILE, new_password, new_vault, read_password

    made = files(plan)
    variables = out / "group_vars/all"
    variables.mkdir(parents=True, exist_ok=True)
    password = read_password(password_file) if password_file else new_password(out / PASSWORD_FILE)
    (variables / "vault.yml").write_bytes(new_vault(password))
    (out / ".gitignore").write_text(f"# It opens every secret: keep it apart, and a copy of it.\n/{PASSWORD_FILE}\n")
    for name, text in made.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _check(options: argparse.Namespace) -> int:
    from inventory.check import problems_of

    folder: Path = options.folder
    if not folder.is_dir():
        print(f"{folder} is no folder: an inventory is one, `nhip inventory new` makes it", file=sys.stderr)
        return PROBLEM
    roles = options.roles or (_ROLES if _ROLES.is_dir() else None)
    inventory, problems = problems_of(folder, roles)
    if options.format == "json":
        for place, words in problems:
            file, _, line = place.rpartition(":")
            print(
                json.dumps(
                    {"file": file or place, "line": int(line) if file else None, "problem": words}, ensure_ascii=False
                )
            )
    elif problems:
        print("\n".join(f"{folder}/{place}: {words}" for place, words in problems), file=sys.stderr)
    else:
        print(f"{folder}: {_summary(inventory)}; nothing is wrong")
    return PROBLEM if problems else OK


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
    if not found:
        print(f"no commune's code or name contains {options.text!r}", file=sys.stderr)
    return OK if found else PROBLEM

"""A whole rehearsal: boot a province, provision it with production's playbooks, accept it, open its board, and stay."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from tests.lab.client import ROOT, Lab
from tests.lab.programs import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUNDLE = ROOT / "bundle"
_AUTHORITY = "/etc/nhip/tls/ca.pem"
_TOKEN = ("runuser", "-u", "nhip", "--", "/usr/bin/nhip", "token", "new", "--data", "/var/lib/nhip/collector")


def rehearse(name: str, inventory: Path, only: Sequence[str], port: int) -> int:
    """Do all of it; return 0 after Ctrl-C, 1 where the playbooks failed (the lab then stays to be looked at)."""
    if not (BUNDLE / "SHA256SUMS").exists():
        print("The sites have no internet: first the bundle of what they install (make bundle).", flush=True)
        if subprocess.run(["make", "--no-print-directory", "bundle"], check=False, cwd=ROOT).returncode:
            return 1
    with Lab.up(name, inventory=inventory, only=only) as lab:
        failed = provision(lab)
        if not failed:
            print(f"\nThe board of this province: {open_board(lab, port)}")
        command = lab.places.command
        print(f"\nIn another terminal: {command} --help, and {command} status.\nCtrl-C ends it.")
        _stay()
    return failed


def provision(lab: Lab, playbook: str = "playbooks/site.yml", *words: str) -> int:
    """Run a playbook on the lab, its output to ours; return 0, or 1 where it failed."""
    began = time.monotonic()
    code = subprocess.run(lab.ansible_command(playbook, *words), check=False, cwd=ROOT).returncode
    print(f"{playbook}: {'done' if code == 0 else 'FAILED'} after {time.monotonic() - began:.0f} s", flush=True)
    return int(code != 0)


def open_board(lab: Lab, port: int = 0) -> str:
    """Open a door to the collector and return its address; LabError where no collector has been provisioned yet."""
    hosts = lab.ask("status")["hosts"]
    centre = next((name for name, host in hosts.items() if host["kind"] == "data_centre_host"), "")
    if not centre:
        raise LabError("this lab was booted without its data centre, so there is no board")
    try:
        authority = lab.run(centre, "cat", _AUTHORITY)
        token = lab.run(centre, *_TOKEN, "--role", "viewer").strip()
    except LabError as exc:
        raise LabError(
            f"no collector answers at {centre} yet; type: {lab.places.command} ansible playbooks/site.yml\n{exc}"
        ) from None
    opened = lab.ask("open", host=centre, authority=authority, token=token, port=port)
    return f"http://127.0.0.1:{opened}/"


def _stay() -> None:
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("\ntaking the province away", flush=True)

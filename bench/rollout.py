"""How long a commune takes to provision, and a second run of all of them: our settings beside Ansible's own defaults.

    python -m bench.rollout [--runs 2] [--name LAB]

The hosts are the virtual province's (tests/lab), booted from nothing; the roles, the inventory and the machine are the
same on both sides. Ansible's defaults know our folders and plug-ins, and nothing of our settings. `--name` takes a lab
that is up and provisioned, and leaves out the first run. Needs root.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.common import ROOT, machine, table
from tests.lab.client import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

PROVINCE_SITES = 103
GOAL = 1 / 3
_OURS_ALONE = re.compile(  # settings, and not where things are
    r"^(forks|gathering|gather_subset|fact_caching\w*|stdout_callback|pipelining|ssh_args|control_path_dir|retries|timeout"
    r"|retry_files_enabled|nocows|interpreter_python|local_tmp|force_handlers)\b.*\n",
    re.MULTILINE,
)


def main() -> None:
    """Provision a province, run its communes again by both, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2, help="second runs of each (default %(default)s)")
    parser.add_argument("--name", default="", help="a lab that is up and provisioned")
    options = parser.parse_args()
    if not options.name:
        subprocess.run([sys.executable, "-m", "playbooks.bundle", "build"], cwd=ROOT, check=True)
    with _lab(options.name) as lab:
        sites = [host["site"] for host in lab.ask("status")["hosts"].values() if host["kind"] == "gateway"]
        hosts = sum(host["kind"] != "data_centre_host" for host in lab.ask("status")["hosts"].values())
        if not options.name:
            _first(lab, len(sites))
        _second(lab, hosts, options.runs)
    print(f"\nmachine: {machine()}; hosts and control node share it")


@contextlib.contextmanager
def _lab(name: str) -> Iterator[Lab]:
    if name:
        yield Lab(name)
        return
    with Lab.up("bench-rollout") as lab:
        yield lab


def _first(lab: Lab, sites: int) -> None:
    centre = _timed(lab, "playbooks/datacentre.yml")
    communes = _timed(lab, "playbooks/communes.yml")
    waves = -(-PROVINCE_SITES // sites)
    table(
        "the first run, from Debian's own small installation",
        ("data centre", f"{sites} communes at once", "a commune", f"{PROVINCE_SITES} like that"),
        [
            (
                "nhip",
                f"{centre:.0f} s",
                f"{communes:.0f} s",
                f"{communes / sites:.0f} s",
                f"{waves * communes / 60:.0f} min",
            )
        ],
    )


def _second(lab: Lab, hosts: int, runs: int) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".cfg", dir=ROOT, prefix=".bench-") as file:
        file.write(_OURS_ALONE.sub("", (ROOT / "ansible.cfg").read_text(encoding="utf-8")))
        file.flush()
        ours: list[float] = []
        defaults: list[float] = []
        for _ in range(runs):  # in turn: what else goes on meets both
            ours.append(_timed(lab, "playbooks/communes.yml"))
            defaults.append(_timed(lab, "playbooks/communes.yml", Path(file.name)))
    one, other = statistics.median(ours), statistics.median(defaults)
    table(
        f"the communes' second run over {hosts} hosts, median of {runs}",
        ("seconds", "ratio"),
        [
            ("our settings", f"{one:.0f} s", f"{one / other:.2f}"),
            ("Ansible's defaults", f"{other:.0f} s", "1.00"),
            ("goal", "", f"{GOAL:.2f}"),
        ],
    )


def _timed(lab: Lab, playbook: str, configuration: Path | None = None) -> float:
    """Run a playbook at the control node; return its seconds."""
    command = lab.ansible_command(playbook)
    if configuration is not None:
        command = [
            f"ANSIBLE_CONFIG={configuration}" if word.startswith("ANSIBLE_CONFIG=") else word
            for word in command
            if not word.startswith("ANSIBLE_CACHE_PLUGIN_CONNECTION=")
        ]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{playbook} failed: {done.stdout}{done.stderr}")
    return time.monotonic() - began


if __name__ == "__main__":
    main()

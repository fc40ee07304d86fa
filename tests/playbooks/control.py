"""The very playbooks over hosts that are this machine, with roles of one task: on trial is the way, not the roles."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ROLES = (
    *("mirror", "base", "ssh", "time_sync", "firewall", "gateway", "vpn", "snmp", "nhip", "agent", "backup"),
    *("workstation", "tsdb", "collector", "reflector"),
)

_ACCEPTANCE = """
- name: Judge
  ansible.builtin.set_fact:
    site_accepted: "{{ works | default(true) }}"
    acceptance_verdict: {accepted: "{{ works | default(true) }}", why: "packet loss 40 % (limit 5 %)"}
- name: Keep the verdict
  ansible.builtin.copy: {content: "{}", dest: "{{ acceptance_folder }}/accepted/{{ site }}.json", mode: "0600"}
  when: site_accepted | bool
"""


class Control:
    """A control node: a copy of the playbooks, an inventory of its own, and what the runs left behind."""

    def __init__(self, folder: Path, inventory: Path | None = None) -> None:
        self.folder = folder
        self.inventory = inventory or folder / "inventory"
        playbooks = folder / "playbooks"
        shutil.copytree(ROOT / "playbooks", playbooks, ignore=shutil.ignore_patterns("roles", "__pycache__"))
        shutil.copy(ROOT / "ansible.cfg", folder)
        (folder / "acceptance/accepted").mkdir(parents=True)
        self.inventory.mkdir(exist_ok=True)
        for role in ROLES:
            self.role(role, '- {name: Do its work, ansible.builtin.set_fact: {did: "it"}}\n')
        self.role("acceptance", _ACCEPTANCE)

    def role(self, name: str, tasks: str) -> None:
        file = self.folder / "playbooks/roles" / name / "tasks/main.yml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(tasks, encoding="utf-8")

    def sites(self, sites: dict[str, dict[str, Any]], upstream: str = "pop_one") -> None:
        """Write the inventory: each site has a gateway, with the variables given."""
        here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        tree = {
            f"site_{code}": {
                "vars": {"site": code, "site_name": f"Phường {code}"},
                "hosts": {f"{code}-gateway": {"kind": "gateway", **here, **variables}},
            }
            for code, variables in sites.items()
        }
        centre = {"vars": {"site": "data-centre", "site_name": "Trung tâm dữ liệu"}}
        centre["hosts"] = {"data-centre": {"kind": "data_centre_host", **here}}
        upstreams = {upstream: {"vars": {"upstream_name": upstream}, "children": tree}}
        whole = {"all": {"children": {"data_centre": centre, **upstreams}}}
        (self.inventory / "hosts.yml").write_text(yaml.safe_dump(whole, allow_unicode=True), encoding="utf-8")
        kinds = {
            "plugin": "ansible.builtin.constructed",
            "keyed_groups": [{"key": "kind", "prefix": "", "separator": ""}],
        }
        (self.inventory / "sites_by_kind.yml").write_text(yaml.safe_dump(kinds), encoding="utf-8")

    def command(self, playbook: str, *words: str) -> tuple[list[str], dict[str, str]]:
        variables = {
            "run_inventory_check": False,  # these hosts are no province; `nhip inventory check` has tests of its own
            "run_lock_remote_path": str(self.folder / "remote.lock"),
            "acceptance_folder": str(self.folder / "acceptance"),
        }
        command = [str(BIN / "ansible-playbook"), "-i", str(self.inventory), f"playbooks/{playbook}"]
        command += ["-e", json.dumps(variables), *words]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        return command, environment | {"HOME": str(self.folder), "PATH": f"{BIN}:{os.environ['PATH']}"}

    def run(self, playbook: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a playbook to its end; its errors go where its output goes, as on a terminal."""
        command, usual = self.command(playbook, *words)
        return subprocess.run(
            command,
            cwd=self.folder,
            env=usual | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
        )

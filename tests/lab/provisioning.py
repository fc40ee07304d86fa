"""A province for the stories of provisioning: a smaller one than the lab's, its playbooks and what they printed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.lab.client import INVENTORY, ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.client import Lab

CENTRE = "data-centre"
SITES = ("31120", "31135", "31147")
BUNDLE = ROOT / "bundle"
_DATA = "/var/lib/nhip/collector"
_SUM = re.compile(r"^\d+ sites?, .*$", re.MULTILINE)


@dataclass
class Province:
    """A lab whose hosts the playbooks have made what they should be."""

    lab: Lab
    outputs: list[str] = field(default_factory=list)

    @property
    def inventory(self) -> Path:
        """The lab's own copy of its inventory, which Ansible reads."""
        return self.lab.places.inventory

    @property
    def acceptance(self) -> Path:
        """Where acceptance keeps its report."""
        return self.lab.places.folder / "acceptance"

    def play(self, playbook: str, *words: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run a playbook at the control node to its end, as `tests/lab/lab ansible` does."""
        given = ["-e", json.dumps(variables)] if variables else []
        done = subprocess.run(
            self.lab.ansible_command(f"playbooks/{playbook}", *words, *given),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.outputs.append(done.stdout)
        return done

    def provisioned(self, playbook: str, *words: str, **variables: Any) -> str:
        """Run a playbook that has to end well; return what it printed."""
        done = self.play(playbook, *words, **variables)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def ask(self, path: str, token: str) -> Any:
        """Ask the collector, from the control node, believing no authority but its own."""
        authority = self.lab.run(CENTRE, "cat", "/etc/nhip/ca.pem")
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(authority)
            file.flush()
            code = (
                "import json, ssl, sys, urllib.request as u; r = u.Request(sys.argv[1]); "
                "r.add_header('Authorization', 'Token ' + sys.stdin.read().strip()); "
                "context = ssl.create_default_context(cafile=sys.argv[2]); "
                "print(u.urlopen(r, timeout=10, context=context).read().decode())"
            )
            command = self.lab.in_control("python3", "-c", code, f"https://10.92.0.10:8443{path}", file.name)
            return json.loads(subprocess.run(command, input=token, text=True, capture_output=True, check=True).stdout)

    def token(self, *words: str) -> str:
        """Make a token at the collector."""
        made = ("runuser", "-u", "nhip", "--", "/usr/bin/nhip", "token", "new", "--data", _DATA)
        return self.lab.run(CENTRE, *made, *words).strip()

    def version(self, host: str) -> str:
        """Return the version of nhip in use at a host."""
        return Path(self.lab.run(host, "readlink", "/opt/nhip/current").strip()).name

    def streams(self, site: str) -> bool:
        """Tell whether a site's agent runs and its results arrive."""
        said = self.lab.run(f"{site}-gateway", "sh", "-c", "nhip agent status >/dev/null; echo $?", check=False)
        return said.strip() == "0"


def summary(output: str) -> str:
    """Return the last line that sums a run up: `4 sites, 4 accepted, 0 changed, 0 failed; 61 s`."""
    found = _SUM.findall(output)
    assert found, output
    return str(found[-1])


def small_inventory(folder: Path, sites: Sequence[str] = SITES) -> Path:
    """Copy the lab's inventory with some of its communes alone, and one computer in all."""
    inventory = folder / "province"
    shutil.copytree(INVENTORY, inventory)
    for path in sorted((inventory / "sites").glob("pop_*.yml")):
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        (upstream,) = tree["all"]["children"]["carrier_tslcd"]["children"].values()
        for name, site in list(upstream["children"].items()):
            if site["vars"]["site"] not in sites:
                del upstream["children"][name]
            for host in list(site["hosts"]):
                if "counter" in host and not host.startswith(sites[0]):
                    del site["hosts"][host]
        path.write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return inventory

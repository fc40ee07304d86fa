"""A province of namespaces for diagnosis: data centre, router, two points of presence, three gateways, a counter.

dc 10.92.0.2 ─ edge 10.92.0.1 ─┬─ pop one ─┬─ 10.92.10.1 ─ 10.92.10.2 gateway A ─ 10.92.20.2 counter
│           └─ 10.92.11.1 ─ 10.92.11.2 gateway B
└─ pop two ─── 10.92.12.1 ─ 10.92.12.2 gateway C
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import yaml

from tests.checks.lab import ROOT, ROUTER, Lab, Node
from tests.running import until

if TYPE_CHECKING:
    from pathlib import Path

WEB = "http://10.92.0.2:8080/"


class Province:
    """Machines, an inventory of them, and what can go wrong."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder, self.inventory = lab, folder, folder / "inventory"
        self.dc, self.counter = lab.node(), lab.node()
        self.edge, self.pop_one, self.pop_two, self.a, self.b, self.c = (lab.node(*ROUTER) for _ in range(6))
        lab.link(self.edge, self.dc, 0, ("lan", "eth0"))
        lab.link(self.edge, self.pop_one, 1, ("to-one", "core"))
        lab.link(self.edge, self.pop_two, 2, ("to-two", "core"))
        lab.link(self.pop_one, self.a, 10, ("to-a", "wan"))
        lab.link(self.pop_one, self.b, 11, ("to-b", "wan"))
        lab.link(self.pop_two, self.c, 12, ("to-c", "wan"))
        lab.link(self.a, self.counter, 20, ("lan", "eth0"))
        for node, via in (
            (self.dc, "10.92.0.1"), (self.pop_one, "10.92.1.1"), (self.pop_two, "10.92.2.1"), (self.a, "10.92.10.1"),
            (self.b, "10.92.11.1"), (self.c, "10.92.12.1"), (self.counter, "10.92.20.1"),
        ):  # fmt: skip
            node.ip(f"route add default via {via}")
        self.edge.ip(
            *(f"route add 10.92.{n}.0/24 via 10.92.1.2" for n in (10, 11, 20)), "route add 10.92.12.0/24 via 10.92.2.2"
        )
        self.pop_one.ip("route add 10.92.20.0/24 via 10.92.10.2")
        self._write()
        self.web = lab.started(self.dc, sys.executable, "-m", "http.server", "8080", "--bind", "10.92.0.2")
        self.reflector = lab.started(
            self.dc, sys.executable, "nhip.py", "reflector", "run", "--listen", "10.92.0.2:862"
        )
        assert self.reflector.stdout is not None
        assert "reflecting" in self.reflector.stdout.readline()
        until(lambda: self.dc.run("curl", "-sf", "-o", "/dev/null", WEB, check=False).returncode == 0)

    def _write(self) -> None:
        sites = {
            "pop_one": {"31120": ("Phường Cái Khế", 10), "31123": ("Phường An Hòa", 11)},
            "pop_two": {"31150": ("Phường An Bình", 12)},
        }
        carrier: dict[str, Any] = {"vars": {"upstream_name": "Mạng truyền số liệu"}, "children": {}}
        for pop, those in sites.items():
            groups = {f"site_{code}": _site(code, name, number) for code, (name, number) in those.items()}
            carrier["children"][pop] = {"vars": {"upstream_name": f"Điểm {pop}"}, "children": groups}
        groups = carrier["children"]["pop_one"]["children"]
        groups["site_31120"]["hosts"]["31120-counter-1"] = {"kind": "workstation", "ansible_host": "10.92.20.2"}
        data_centre = {
            "vars": {"site": "data-centre", "site_name": "Trung tâm dữ liệu", "site_lan": "10.92.0.0/24"},
            "hosts": {"data-centre": {"kind": "data_centre_host", "ansible_host": "10.92.0.2"}},
        }
        self._put("sites.yml", {"all": {"children": {"carrier": carrier, "data_centre": data_centre}}})
        province = {
            "province": "92", "province_name": "Cần Thơ", "data_centre_router": "10.92.0.1",
            "data_centre_address": "10.92.0.2",
            "services": [
                {"service": "one-stop", "name": "Hệ thống một cửa",
                 "checks": [{"check": "http_get", "target": WEB, "interval_seconds": 30}]},
            ],
        }  # fmt: skip
        self._put("group_vars/all.yml", province)

    def _put(self, name: str, document: dict[str, Any]) -> None:
        path = self.inventory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")

    def cut(self, node: Node, device: str) -> None:
        """Let a line carry nothing more, in either direction, though both its ends stay up."""
        node.run("nft", "add table netdev cut")
        for hook in ("ingress", "egress"):
            node.run(
                "nft",
                f"add chain netdev cut {hook} {{ type filter hook {hook} device {device} priority 0; policy drop; }}",
            )

    def power_off(self, node: Node, *devices: str) -> None:
        """Take a machine's links away, as a dead power supply does."""
        node.ip(*(f"link set {device} down" for device in devices))

    def open_ssh(self, node: Node, *, pinned: bool = True) -> Path:
        """Run sshd on a gateway, pin its key in the inventory (or another's); return the key that may log in."""
        made = self.folder / "ssh"
        made.mkdir()
        for name in ("host", "other", "person"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(made / name)], check=True)
        (made / "bin").mkdir()
        program = made / "bin" / "nhip"
        program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} nhip.py "$@"\n')
        program.chmod(0o755)
        (made / "sshd_config").write_text(
            f"ListenAddress 10.92.10.2\nHostKey {made}/host\nAuthorizedKeysFile {made}/person.pub\nStrictModes no\n"
            f"UsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\nPidFile none\n"
            f"SetEnv PATH={made}/bin:/usr/bin:/bin:/usr/sbin:/sbin\n"
        )
        key = (made / ("host" if pinned else "other")).with_suffix(".pub").read_text().rsplit(" ", 1)[0]
        (self.inventory / "known_hosts").write_text(f"10.92.10.2 {key}\n")
        self.lab.started(node, "sh", "-c", f"mkdir -p /run/sshd && exec /usr/sbin/sshd -D -e -f {made}/sshd_config")
        until(lambda: self.dc.run("bash", "-c", "</dev/tcp/10.92.10.2/22", check=False).returncode == 0)
        return made / "person"


def _site(code: str, name: str, number: int) -> dict[str, Any]:
    address, via = f"10.92.{number}.2", f"10.92.{number}.1"
    uplinks = [{"interface": "wan", "address": f"{address}/24", "via": via}]
    gateway = {"kind": "gateway", "ansible_host": address, "gateway_uplinks": uplinks}
    named = {"site": code, "site_name": name, "site_lan": f"10.92.{number + 10}.0/24"}
    return {"vars": named, "hosts": {f"{code}-gateway": gateway}}

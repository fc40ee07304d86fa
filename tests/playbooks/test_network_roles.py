"""Contracts and templates of the roles gateway, vpn and workstation: rendered by Ansible, judged by who reads them."""

from __future__ import annotations

import copy
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.playbooks.role_files import ROLES, load

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORK_ROLES = ("gateway", "vpn", "workstation")
COMMUNE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "commune.yml").read_text(encoding="utf-8"))


ONE_UPLINK = COMMUNE["all"]["children"]["site_31120"]["hosts"]["31120-gateway"]["gateway_uplinks"][:1]
TEMPLATES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "gateway": [
        *((name, {}) for name in ("dnsmasq.conf", "uplinks.json", "traffic.json", "sysctl.conf")),
        *((name, {}) for name in ("nhip-uplinks.service", "nhip-traffic.service")),
        ("sysctl.conf", {"gateway_uplinks": ONE_UPLINK}),
    ],
    "vpn": [
        (name, {"vpn_hub_key": {"stdout": "HUB="}, "vpn_public_key": {"stdout": "OWN="}})
        for name in ("interface.conf", "hub.conf", "peer.conf", "reload.sh")
    ],
    "workstation": [("firefox-esr.json", {}), ("chromium.json", {})],
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Path]]:
    """Return `rendered(role)`: the files that a role writes on the commune's gateway, in the order above."""
    return functools.cache(lambda role: render(role, tmp_path_factory.mktemp(role)))


def render(role: str, folder: Path) -> list[Path]:
    """Let Ansible render a role's templates with its defaults."""
    inventory = copy.deepcopy(COMMUNE)
    for path in (ROLES / role / "defaults/main.yml", ROLES / role / "vars/main.yml"):
        inventory["all"]["vars"] |= yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    (folder / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
    files = [folder / f"{number}" / name for number, (name, _) in enumerate(TEMPLATES[role])]
    tasks = []
    for file, (name, variables) in zip(files, TEMPLATES[role], strict=True):
        file.parent.mkdir()
        source = str(ROLES / role / "templates" / f"{name}.j2")
        tasks.append({"ansible.builtin.template": {"src": source, "dest": str(file)}, "vars": variables})
    play = {"hosts": "31120-gateway", "connection": "local", "gather_facts": False, "tasks": tasks}
    (folder / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    settings = {
        "filter_plugins": ROLES / role / "filter_plugins",
        "local_tmp": folder / "tmp",
        "interpreter_python": sys.executable,
    }
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (folder / "ansible.cfg").write_text("\n".join(["[defaults]", *lines, ""]), encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "inventory.yml", "play.yml"],
        check=False, capture_output=True, text=True, cwd=folder, timeout=100,
        env=os.environ | {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return files


@pytest.mark.parametrize("role", NETWORK_ROLES)
def test_defaults_specs_and_readme_name_the_same_variables(role: str) -> None:
    defaults = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text(encoding="utf-8"))
    specs = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    options = specs["argument_specs"]["main"]["options"]
    readme = (ROLES / role / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", readme, re.MULTILINE))
    assert rows == {name: option["description"].strip() for name, option in options.items()}
    assert {name for name, option in options.items() if not option.get("required")} == set(defaults)
    assert {name: option["default"] for name, option in options.items() if "default" in option} == defaults


def test_dnsmasq_takes_what_the_gateway_writes_and_serves_the_lan_alone(
    rendered: Callable[[str], list[Path]],
) -> None:
    program = shutil.which("dnsmasq", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("dnsmasq is not installed (apt install dnsmasq-base)")
    file = rendered("gateway")[0]
    done = subprocess.run([program, "--test", f"--conf-file={file}"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = file.read_text(encoding="utf-8").splitlines()
    guards = ("interface=", "no-dhcp-interface=", "stop-", "rebind-")
    assert [line for line in lines if line.startswith(guards)] == [
        "interface=lan",
        "no-dhcp-interface=wan",
        "no-dhcp-interface=wan2",
        "stop-dns-rebind",
        "rebind-domain-ok=/can-tho.internal/",
    ]
    assert "dhcp-range=10.92.1.100,10.92.1.199,43200" in lines
    assert "dhcp-host=02:92:00:00:00:0b,printer,10.92.1.20" in lines
    assert "host-record=31120-counter-1.31120.can-tho.internal,10.92.1.11" in lines


def test_the_gateways_services_read_what_the_role_writes(rendered: Callable[[str], list[Path]]) -> None:
    uplinks = load("gateway/files/uplinks.py").load(rendered("gateway")[1])
    assert (uplinks.uplinks[1].interface, uplinks.uplinks[1].address) == ("wan2", "10.92.248.6")
    traffic = load("gateway/files/traffic.py").load(rendered("gateway")[2])
    assert [line.upload_bits_per_second for line in traffic.uplinks] == [190_000_000, 9_500_000]
    assert traffic.addresses["one_stop"] == ["10.92.0.20"]


def test_with_one_uplink_the_kernel_is_strict_about_where_packets_come_in(
    rendered: Callable[[str], list[Path]],
) -> None:
    two, one = (rendered("gateway")[place].read_text(encoding="utf-8") for place in (3, 6))
    assert ("net/ipv4/conf/wan/rp_filter = 1" in one, "net/ipv4/conf/wan/rp_filter = 2" in two) == (True, True)


@pytest.mark.parametrize("place", [4, 5])
def test_our_units_are_hardened(place: int, rendered: Callable[[str], list[Path]]) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    words = [program, "security", "--offline=yes", "--threshold=20", "--no-pager", rendered("gateway")[place]]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_both_browsers_open_the_one_stop_system_and_keep_no_passwords(rendered: Callable[[str], list[Path]]) -> None:
    firefox, chromium = (json.loads(file.read_text(encoding="utf-8")) for file in rendered("workstation"))
    assert firefox["policies"]["Homepage"]["URL"] == chromium["HomepageLocation"] == "http://one-stop.can-tho.internal/"
    assert chromium["RestoreOnStartupURLs"] == ["http://one-stop.can-tho.internal/"]
    assert (firefox["policies"]["PasswordManagerEnabled"], chromium["PasswordManagerEnabled"]) == (False, False)
    assert chromium["ManagedBookmarks"] == [{"name": "Hệ thống một cửa", "url": "http://one-stop.can-tho.internal/"}]
    assert (firefox["policies"]["Certificates"], chromium["CACertificates"]) == ({"Install": []}, [])


def test_the_tunnels_private_key_is_in_no_file_that_ansible_writes(rendered: Callable[[str], list[Path]]) -> None:
    interface, hub, peer, _ = (file.read_text(encoding="utf-8") for file in rendered("vpn"))
    assert "PostUp = wg set %i private-key /etc/wireguard/%i.key" in interface
    assert "Address = 10.92.254.2/24" in interface
    assert "PublicKey = HUB=\nEndpoint = 10.92.0.10:51820\nAllowedIPs = 10.92.254.0/24\n" in hub
    assert "PublicKey = OWN=\nAllowedIPs = 10.92.254.2/32\n" in peer
    assert subprocess.run(["bash", "-n", rendered("vpn")[3]], check=False).returncode == 0

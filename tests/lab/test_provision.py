"""A province from nothing: booted hosts, the playbooks of production, and what becomes of mistakes and bad luck.

One province is provisioned once for all of these stories; each leaves it as it was.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import uuid
import zipfile
from typing import TYPE_CHECKING

import pytest

from playbooks.bundle import sums
from tests.lab import judges
from tests.lab.client import ROOT, Lab
from tests.lab.provisioning import BUNDLE, CENTRE, SITES, Province, small_inventory, summary
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(1800)  # whole provinces are provisioned, on machines that may be busy

GATEWAYS = tuple(f"{site}-gateway" for site in SITES)
EXPOSURE = 2.0
LYNIS_INDEX = 75


@pytest.fixture(scope="session")
def bundle(able: None) -> None:  # noqa: ARG001  (skips)
    """Have the bundle of this very code; what did not change since the last one is kept."""
    subprocess.run([sys.executable, "-m", "playbooks.bundle", "build"], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def province(bundle: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Province]:  # noqa: ARG001  (makes it)
    """Boot a data centre and three communes, and provision them from nothing."""
    inventory = small_inventory(tmp_path_factory.mktemp("inventory"))
    with Lab.up(f"t-{uuid.uuid4().hex[:6]}", inventory=inventory) as lab:
        made = Province(lab)
        made.provisioned("site.yml")
        yield made


def test_bare_machines_become_accepted_sites(province: Province) -> None:
    first = province.outputs[0]
    assert re.search(r"^4 sites, .*0 failed", summary(first)), first
    for site in SITES:
        assert re.search(rf"✔ {site} .*: accepted", first), first


def test_a_second_run_changes_nothing_and_accepts_every_site_again(province: Province) -> None:
    again = province.provisioned("site.yml", "--diff")
    assert summary(again).startswith("4 sites, 3 accepted, 0 changed, 0 failed"), again


def test_a_manager_reads_which_site_works_and_why(province: Province) -> None:
    with (province.acceptance / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["site"]: row for row in csv.DictReader(file)}
    assert {site: row["accepted"] for site, row in rows.items()} == dict.fromkeys(SITES, "yes")
    assert rows["31135"]["second_link"] == "green"
    assert "Phường Cái Khế" in (province.acceptance / "report.html").read_text(encoding="utf-8")


def test_every_site_streams_to_the_collector_over_tls_and_the_board_has_its_name(province: Province) -> None:
    for site in SITES:
        until(lambda site=site: province.streams(site), 60, f"the stream of {site}")
    token = province.token("--role", "viewer")
    heard = {each["site"]: each for each in province.ask("/api/v1/sites", token)["sites"]}
    assert heard["31120"]["name"] == "Phường Cái Khế"
    assert set(SITES) <= {site for site, each in heard.items() if each["last_heard_at"] and not each["silent"]}


def test_a_collector_knows_what_is_usual_at_a_site_that_was_accepted(province: Province) -> None:
    there = province.lab.run(CENTRE, "cat", "/etc/nhip/inventory/baseline.yml")
    assert all(f"'{site}':" in there for site in SITES)
    assert province.lab.run(CENTRE, "find", "/etc/nhip/inventory", "-name", "vault.yml") == ""


def test_a_dry_run_shows_what_would_change_and_changes_nothing(province: Province) -> None:
    before = province.lab.run(GATEWAYS[0], "cat", "/etc/nhip/agent.yml")
    said = province.provisioned(
        "communes.yml", "--check", "--diff", "--limit", "site_31120", "--tags", "agent", agent_heartbeat_seconds=7
    )
    assert "-heartbeat_seconds: 5" in said
    assert "+heartbeat_seconds: 7" in said
    assert province.lab.run(GATEWAYS[0], "cat", "/etc/nhip/agent.yml") == before


def test_three_kinds_of_bad_luck_stop_a_wave_in_their_own_words_and_the_next_run_goes_on(province: Province) -> None:
    """The wrong address of a gateway, a full disk and a service that cannot start, each at a site of the first wave."""
    lab, rollout = province.lab, {"rollout_sizes": ["2", "1"], "rollout_again": True, "rollout_reboot": False}
    sites = province.inventory / "sites/pop_cai_khe.yml"
    right = sites.read_text(encoding="utf-8")
    lab.ask("kill_service", host=GATEWAYS[2], unit="chrony.service")
    sites.write_text(right.replace("ansible_host: 10.92.240.6\n", "ansible_host: 10.92.240.5\n"), encoding="utf-8")
    lab.ask("fill_disk", host=GATEWAYS[1])
    try:
        stopped = province.play("rollout.yml", "-e", "rollout_canary=31120", **rollout | {"rollout_sizes": ["3"]})
    finally:
        sites.write_text(right, encoding="utf-8")
        lab.ask("heal", place="all")
    assert stopped.returncode != 0
    said = stopped.stdout
    assert re.search(r"31120-gateway.*\n?.*(cannot be reached at 10\.92\.240\.5|host key)", said), said
    assert re.search(r"31135-gateway.*\n +the disk is full\n +do: free some space", said), said
    assert re.search(r"31147-gateway.*chrony.*\n.*chrony\.service is masked", said), said
    assert "✖ wave 1 stopped the rollout: 31120, 31135, 31147 not accepted" in said
    assert "wave 2" not in said

    repaired = province.provisioned("rollout.yml", **rollout)
    assert re.search(r"wave 1: 2 sites", repaired), repaired
    assert re.search(r"wave 2: 1 site\b", repaired), repaired
    assert all(re.search(rf"✔ {site} ", repaired) for site in SITES), repaired
    resumed = province.provisioned("rollout.yml", rollout_reboot=False)
    assert "3 of 3 sites are accepted already and left alone" in resumed


def test_an_agent_that_does_not_come_back_goes_back_to_its_version_and_nobody_else_is_touched(
    province: Province, tmp_path: Path
) -> None:
    old = province.version(GATEWAYS[0])
    broken = _broken_bundle(tmp_path, GATEWAYS[0])
    said = province.play(
        "upgrade.yml", mirror_bundle=str(broken), nhip_bundle=str(broken), rollout_sizes=["1", "2"], upgrade_seconds=20
    )
    assert said.returncode != 0, said.stdout
    assert "the new version did not become healthy" in said.stdout
    assert f"Back on {old}, which is healthy" in said.stdout
    assert [province.version(host) for host in GATEWAYS] == [old] * 3
    assert province.version(CENTRE) == "9.9.9-broken"
    assert province.streams("31120")

    province.provisioned("upgrade.yml")
    assert {province.version(host) for host in (CENTRE, *GATEWAYS)} == {old}
    for site in SITES:
        until(lambda site=site: province.streams(site), 60, f"the stream of {site}")


def test_a_gateway_that_was_switched_off_and_on_works_again_by_itself(province: Province) -> None:
    boots = province.lab.ask("status")["hosts"][GATEWAYS[2]]["boots"]
    said = province.provisioned(
        "verify.yml", "--limit", "site_31147", acceptance_reboot=True, acceptance_capacity=False
    )
    assert province.lab.ask("status")["hosts"][GATEWAYS[2]]["boots"] == boots + 1
    assert re.search(r"✔ 31147 .*: accepted", said), said
    with (province.acceptance / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {row["site"]: row["reboot"] for row in csv.DictReader(file)}["31147"] == "green"


def test_a_new_token_takes_the_place_of_the_old_one_and_neither_is_ever_shown(province: Province) -> None:
    old = province.lab.run(GATEWAYS[1], "cat", "/etc/nhip/token").strip()
    province.provisioned("rotate.yml", "--limit", "site_31135", "-v", "--diff", rotate="tokens")
    new = province.lab.run(GATEWAYS[1], "cat", "/etc/nhip/token").strip()
    assert old != new
    assert province.streams("31135")
    listed = province.lab.run(
        CENTRE, "runuser", "-u", "nhip", "--", "nhip", "token", "list", "--data", "/var/lib/nhip/collector"
    )
    assert len([line for line in listed.splitlines() if " site 31135 " in line and "revoked" not in line]) == 1
    secrets = {old, new, *(province.lab.run(host, "cat", "/etc/nhip/token").strip() for host in (CENTRE, *GATEWAYS))}
    assert [secret for secret in secrets if any(secret in output for output in province.outputs)] == []


def test_strangers_judge_a_gateways_ssh_and_its_hardening(
    province: Province, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = judges.ssh_failures(province.lab.in_control(), "10.92.240.6")
    found = judges.lynis(province.lab.ssh_command(GATEWAYS[0]))
    say(capsys, f"ssh-audit: {len(failures)} failures; lynis: {found.index} of 100, {len(found.warnings)} warnings")
    assert failures == []
    assert found.warnings == ()
    assert found.index >= LYNIS_INDEX


def test_a_stranger_judges_the_collectors_tls(province: Province, capsys: pytest.CaptureFixture[str]) -> None:
    authority = province.lab.run(CENTRE, "cat", "/etc/nhip/ca.pem")
    found = judges.tls(province.lab.in_control(), "10.92.0.10:8443", authority)
    say(capsys, f"testssl.sh: {', '.join(found.protocols)}; marks {len(found.marks)}")
    assert found.protocols == ("TLS 1.2", "TLS 1.3")
    assert found.marks == ()


@pytest.mark.parametrize("host", [CENTRE, *GATEWAYS[:1]])
def test_our_units_are_exposed_to_little(province: Province, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    ours = "nhip-agent nhip-collector nhip-reflector victoria-metrics" if host == CENTRE else "nhip-agent"
    for unit in ours.split():
        said = province.lab.run(host, "systemd-analyze", "security", "--no-pager", f"{unit}.service", check=False)
        exposure = float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1])
        say(capsys, f"{host} {unit}: {exposure}")
        assert exposure <= EXPOSURE, said


def say(capsys: pytest.CaptureFixture[str], figures: str) -> None:
    """Print what was measured, also where the test goes well."""
    with capsys.disabled():
        sys.stdout.write(f"\n{figures}\n")


def _broken_bundle(folder: Path, host: str) -> Path:
    """Make a bundle of the same code, but for an agent that ends as soon as it starts at `host`."""
    target = folder / "broken"
    shutil.copytree(BUNDLE, target, copy_function=os.link)
    (wheel,) = (target / "wheelhouse").glob("nhip-*.whl")
    was = sums.sha256(wheel)
    with zipfile.ZipFile(wheel) as old:
        files = {entry.filename: old.read(entry) for entry in old.infolist()}
    files["agents/service.py"] += (
        f"\nimport socket\nif socket.gethostname() == {host!r}:\n    raise SystemExit(1)\n".encode()
    )
    wheel.unlink()
    with zipfile.ZipFile(wheel, "w") as new:
        for name, data in files.items():
            new.writestr(name, data)
    for path in (target / "wheelhouse/agent.txt", target / "wheelhouse/collector.txt"):
        text = path.read_text(encoding="utf-8").replace(was, sums.sha256(wheel))
        path.unlink()  # the file itself is the good bundle's too
        path.write_text(text, encoding="utf-8")
    for name in ("VERSION", sums.NAME):
        (target / name).unlink()
    (target / "VERSION").write_text("9.9.9-broken\n", encoding="utf-8")
    sums.write(target)
    return target

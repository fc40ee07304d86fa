"""Stories of a lab on this machine: real hosts that boot, lines that are cut, and nothing that is left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import groups, places
from tests.lab.client import Lab
from tests.lab.made import processes
from tests.lab.programs import LabError
from tests.running import until

if TYPE_CHECKING:
    from collections.abc import Callable

GATEWAY, ADDRESS = "31120-gateway", "10.92.240.6"


def answers(lab: Lab, address: str = ADDRESS, *more: str) -> bool:
    command = lab.in_control("ping", "-c1", "-W1", *more, address)
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def left_of(name: str) -> list[str]:
    """Everything on this machine that carries a lab's name."""
    prefix = f"nhip-lab-{name}"
    found = [path.name for path in Path("/run/netns").glob(f"{prefix}-*")]
    found += [str(path) for root in groups.hierarchies() for path in root.glob(prefix)]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if f"/nhip-lab/{name}/" in line]
    for folder in (places.RUNTIME, places.DISKS, Path("/etc/netns")):
        found += [str(path) for path in folder.glob(f"*{name}*")]
    return found


def test_a_host_is_reached_over_its_line_by_the_key_that_was_pinned_beforehand(whole: Lab) -> None:
    assert whole.ssh(GATEWAY, "hostname").strip() == GATEWAY
    assert whole.ssh(GATEWAY, "systemctl", "is-system-running").strip() == "running"
    assert whole.ssh("data-centre", "cat", "/proc/1/comm").strip() == "systemd"


def test_a_host_whose_key_is_not_the_pinned_one_is_refused(whole: Lab) -> None:
    known = whole.places.known_hosts
    kept = known.read_text()
    known.write_text("".join(line for line in kept.splitlines(keepends=True) if GATEWAY not in line))
    try:
        with pytest.raises(LabError, match="Host key verification failed"):
            whole.ssh(GATEWAY, "true")
    finally:
        known.write_text(kept)


def test_a_console_works_with_every_line_cut_and_healing_brings_the_line_back(whole: Lab) -> None:
    whole.ask("cut", line="31120")
    assert not answers(whole)
    assert "wan" in whole.run(GATEWAY, "ip", "-brief", "address")
    assert whole.ask("status")["faults"] == {"31120": {"line": "cut"}}
    assert whole.ask("heal", place="31120") == ["31120: cut"]
    until(lambda: answers(whole), what="the line's coming back")


def test_a_plug_that_is_pulled_out_takes_the_link_light_with_it(whole: Lab) -> None:
    whole.ask("cut", line="31120", unplug=True)
    assert "NO-CARRIER" in whole.run(GATEWAY, "ip", "link", "show", "wan")
    whole.ask("heal", place="all")
    assert "LOWER_UP" in whole.run(GATEWAY, "ip", "link", "show", "wan")
    until(lambda: answers(whole), what="the line's coming back")


def test_a_slow_line_takes_as_much_longer_as_was_said(whole: Lab) -> None:
    whole.ask("impair", line="31120", changes={"delay_seconds": 0.1}, words="slower")
    said = whole.control("ping", "-c3", "-i0.2", ADDRESS)
    fastest = float(re.search(r"= ([\d.]+)/", said)[1])
    assert fastest >= 200, said


def test_a_long_packet_vanishes_in_a_black_hole_and_a_short_one_passes(whole: Lab) -> None:
    whole.ask("impair", line="31120", changes={"mtu": 1400}, words="over 1400 bytes vanish")
    assert answers(whole, ADDRESS, "-s1000")
    assert not answers(whole, ADDRESS, "-s1373", "-Mdo")


def test_a_host_without_power_answers_nothing_and_keeps_its_disk(whole: Lab) -> None:
    whole.ssh(GATEWAY, "echo kept > /root/note; sync")
    whole.ask("power_off", host=GATEWAY)
    assert not answers(whole)
    with pytest.raises(LabError, match=f"{GATEWAY} is without power; type: .* power-on {GATEWAY}"):
        whole.run(GATEWAY, "true")
    whole.ask("power_on", host=GATEWAY)
    assert whole.ssh(GATEWAY, "cat", "/root/note").strip() == "kept"


def test_a_host_that_reboots_itself_comes_back_with_only_what_its_own_disk_says(whole: Lab) -> None:
    whole.run(GATEWAY, "ip", "address", "add", "192.0.2.1/32", "dev", "lo")
    boots = whole.ask("status")["hosts"][GATEWAY]["boots"]
    whole.run(GATEWAY, "systemctl", "reboot", check=False)
    until(lambda: whole.ask("status")["hosts"][GATEWAY]["boots"] == boots + 1, what="the reboot")
    until(lambda: whole.ask("status")["hosts"][GATEWAY]["state"] == "running", 60, "its boot")
    until(lambda: answers(whole), what="its network")
    assert "192.0.2.1" not in whole.run(GATEWAY, "ip", "address")


def test_a_full_disk_takes_nothing_more_until_it_is_healed(whole: Lab) -> None:
    whole.ask("fill_disk", host=GATEWAY)
    write = "dd if=/dev/zero of=/root/more bs=64k count=4 2>&1"
    assert "No space left on device" in whole.ssh(GATEWAY, write, check=False)
    whole.ask("heal", place=GATEWAY)
    whole.ssh(GATEWAY, write)


def test_the_carrier_reaches_a_site_by_its_other_line(whole: Lab) -> None:
    whole.run(GATEWAY, "ip", "address", "replace", "10.92.1.1/24", "dev", "lan")
    whole.run(GATEWAY, "ip", "address", "replace", "10.92.248.6/30", "dev", "wan2")
    assert answers(whole, "10.92.1.1")
    whole.ask("cut", line="pop_a")
    whole.run(GATEWAY, "ip", "route", "replace", "default", "via", "10.92.248.5", "dev", "wan2")
    until(lambda: answers(whole, "10.92.1.1"), what="the way by the other line")
    whole.ask("heal", place="all")
    whole.ask("reboot", host=GATEWAY)


def test_a_place_that_is_not_there_is_refused_with_those_that_are(whole: Lab) -> None:
    with pytest.raises(LabError, match="there is no line '31121'; there are: uplink, pop_a, pop_b, 31120, 31120-2"):
        whole.ask("cut", line="31121")
    with pytest.raises(LabError, match="there is no host 'gateway'; there are: data-centre, 31120-gateway"):
        whole.ask("power_off", host="gateway")


@pytest.mark.usefixtures("able")
def test_two_labs_live_beside_each_other_and_leave_nothing_behind(
    whole: Lab, two_sites: Path, lab_name: Callable[[], str]
) -> None:
    name = lab_name()
    with Lab.up(name, inventory=two_sites, only=["31120"]) as other:
        other.run(GATEWAY, "touch", "/root/other")
        other.ask("cut", line="31120")
        assert answers(whole)
        assert "other" not in whole.ssh(GATEWAY, "ls", "/root")
        assert left_of(name)
        with pytest.raises(LabError, match=f"the lab {name} is up already"):
            Lab.up(name, inventory=two_sites)
    assert left_of(name) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("able")
def test_nothing_is_left_after_a_lab_whose_owner_is_killed_at_any_moment(
    two_sites: Path, lab_name: Callable[[], str], number: int
) -> None:
    name = lab_name()
    lab = Lab.up(name, inventory=two_sites, only=["data-centre"])
    owner = lab._owner
    assert owner is not None
    os.kill(owner.pid, number)
    owner.wait(60)
    lab.down()
    assert left_of(name) == []
    assert processes(groups.paths(lab.places.prefix)) == []


@pytest.mark.usefixtures("able")
def test_a_lab_that_was_killed_half_made_is_cleared_away_by_the_next_one(
    two_sites: Path, lab_name: Callable[[], str]
) -> None:
    name = lab_name()
    lab = Lab.up(name, inventory=two_sites, only=["data-centre"])
    assert lab._owner is not None
    os.kill(lab._owner.pid, signal.SIGKILL)
    lab._owner.wait()
    with Lab.up(name, inventory=two_sites, only=["data-centre"]) as again:
        assert again.ssh("data-centre", "hostname").strip() == "data-centre"
    lab.down()
    assert left_of(name) == []

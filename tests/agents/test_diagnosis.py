"""Real faults between real machines, and what a diagnosis says of each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from agents.diagnose.inside import Login, command
from tests.agents.province import Province
from tests.checks.lab import ROOT, made_lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def province(tmp_path: Path) -> Iterator[Province]:
    with made_lab() as lab:
        yield Province(lab, tmp_path)


def ask(province: Province, *words: str) -> subprocess.CompletedProcess[str]:
    return province.dc.nhip("diagnose", "31120", "--inventory", str(province.inventory), *words)


def diagnosed(province: Province, *words: str) -> dict[str, Any]:
    """Return the last verdict; there was a first one before it."""
    done = ask(province, "--json", *words)
    first, last = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["final"], last["final"]) == (False, True)
    assert all(set(finding["text"]) == {"vi", "en"} for finding in last["findings"])
    return {**last, "exit": done.returncode, "first": first["verdict"]["where"]}


def states(told: dict[str, Any], probe: str) -> list[str]:
    return [finding["state"] for finding in told["findings"] if finding["probe"] == probe]


def test_a_site_that_is_well_has_nothing(province: Province) -> None:
    told = diagnosed(province)
    assert (told["verdict"]["where"], told["exit"]) == ("nothing", 0)
    for probe in ("router", "carrier", "gateway", "lan", "neighbour", "elsewhere", "reflector", "service"):
        assert states(told, probe) == ["well"], probe


def test_a_cut_line_is_told_from_its_upstream_by_the_neighbour(province: Province) -> None:
    province.cut(province.pop_one, "to-a")
    told = diagnosed(province)
    assert (told["verdict"]["where"], told["first"], told["exit"]) == ("line_or_power", "line_or_power", 2)
    assert (states(told, "gateway"), states(told, "neighbour"), states(told, "carrier")) == (
        ["lost"],
        ["well"],
        ["well"],
    )


def test_a_dead_gateway_takes_the_carriers_end_with_it_only_where_the_carrier_says_so(province: Province) -> None:
    province.power_off(province.a, "wan", "lan")
    assert diagnosed(province)["verdict"]["where"] == "line_or_power"
    province.pop_one.ip("address delete 10.92.10.1/24 dev to-a")
    assert diagnosed(province)["verdict"]["where"] == "line"


def test_a_lost_upstream_is_named(province: Province) -> None:
    province.cut(province.edge, "to-one")
    told = diagnosed(province)
    assert told["verdict"]["where"] == "upstream"
    assert "Điểm pop_one" in told["verdict"]["text"]["vi"]


def test_a_carrier_that_reaches_nobody_is_no_upstream(province: Province) -> None:
    province.cut(province.edge, "to-one")
    province.power_off(province.c, "wan")
    province.pop_two.ip("link set core down")
    assert diagnosed(province)["verdict"]["where"] == "carrier"


def test_our_own_uplink_is_our_own_fault(province: Province) -> None:
    province.cut(province.edge, "lan")
    assert diagnosed(province)["verdict"]["where"] == "data_centre"


def test_a_switched_off_lan_is_found_behind_a_gateway_that_is_well(province: Province) -> None:
    province.power_off(province.counter, "eth0")
    assert diagnosed(province)["verdict"]["where"] == "lan"


def test_a_stopped_web_server_is_the_services_fault(province: Province) -> None:
    province.web.terminate()
    province.web.wait(10)
    told = diagnosed(province)
    assert told["verdict"]["where"] == "service"
    assert "Hệ thống một cửa" in told["verdict"]["text"]["en"]
    assert "connection refused" in told["findings"][-1]["reason"]


def test_a_reflector_that_does_not_run_is_told_from_a_line_that_loses_packets(province: Province) -> None:
    province.reflector.terminate()
    province.reflector.wait(20)
    assert diagnosed(province)["verdict"]["where"] == "reflector"


def test_a_reflector_that_says_nothing_may_only_want_a_key(province: Province) -> None:
    province.dc.nft("input", "udp dport 862 drop")
    told = diagnosed(province)
    assert (states(told, "reflector"), told["verdict"]["where"]) == (["unknown"], "nothing")


def test_a_line_that_loses_packets_is_impaired_where_its_neighbours_are_well(province: Province) -> None:
    province.pop_one.nft("forward", "ip daddr 10.92.10.2 numgen random mod 2 == 0 drop")
    told = diagnosed(province)
    assert told["verdict"]["where"] in (
        "line_poor",
        "line_or_power",
    )  # of ten packets all ten may be lost, once in a thousand
    assert states(told, "neighbour") == ["well"]


def test_the_site_sees_for_itself_what_is_filtered_on_its_way(province: Province) -> None:
    key = province.open_ssh(province.a)
    province.a.nft("output", "ip daddr 10.92.0.2 tcp dport 8080 drop")
    told = diagnosed(province, "--identity", str(key), "--seconds", "30")
    assert (states(told, "login"), states(told, "service")) == (["well"], ["well"])
    assert (states(told, "inside_service"), states(told, "inside_line")) == (["lost"], ["well"])
    assert told["verdict"]["where"] == "service_path"


def test_a_gateway_with_another_host_key_is_not_logged_in_to(province: Province) -> None:
    key = province.open_ssh(province.a, pinned=False)
    told = diagnosed(province, "--identity", str(key), "--seconds", "30")
    assert states(told, "login") == ["unknown"]
    (login,) = [finding for finding in told["findings"] if finding["probe"] == "login"]
    assert login["reason"] == "it shows another host key than the one that is pinned"
    assert told["verdict"]["where"] == "nothing"


def test_where_no_key_is_pinned_nobody_logs_in_and_a_line_reads_well(province: Province) -> None:
    done = ask(province, "--language", "en")
    assert "Logging in" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0] == "Nothing was wrong when this was looked at: all that can be seen is well"
    assert lines[3].startswith("  ✔ The data centre's router (10.92.0.1): well (round trip ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["99999"], "has no site '99999': `nhip inventory list` names them"),
        (["khế"], "do you mean 31120 Phường Cái Khế?"),
        (["31120", "--service", "tea"], "has no service 'tea'; there are: one-stop, dns, time"),
        (["31120", "--seconds", "0"], "'0' is not between 1 and 60"),
    ],
)
def test_what_cannot_be_diagnosed_is_said(words: list[str], said: str) -> None:
    command = [sys.executable, "nhip.py", "diagnose", "--inventory", "inventory/can-tho", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (2, 3)
    assert said in done.stderr


def test_an_inventory_that_is_not_there_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "nhip.py", "diagnose", "31120", "--inventory", str(tmp_path / "no")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "is no folder" in done.stderr) == (3, True)


def test_the_client_is_told_nothing_secret_and_trusts_nobody_new(tmp_path: Path) -> None:
    words = command("10.92.10.2", Login(known_hosts=tmp_path / "known_hosts", identity=tmp_path / "key"))
    assert {"BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={tmp_path}/known_hosts"} <= set(words)
    assert shutil.which(words[0])
    assert words[-3:-1] == ["--", "10.92.10.2"]

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from checks.strict import ConfigError
from collector.loading import load
from inventory.check import problems_of
from inventory.command import main
from inventory.new import files
from inventory.plan import plan_province
from inventory.topology import read
from inventory.units import load_units, provinces, search

REPOSITORY = Path(__file__).parents[2]
LAB = REPOSITORY / "inventory/lab"
CAN_THO = REPOSITORY / "inventory/can-tho"


@pytest.fixture
def pilot(tmp_path: Path) -> Path:
    """Write an inventory of four communes of Cần Thơ, to be broken."""
    folder = tmp_path / "pilot"
    assert (
        main(["new", "--province", "92", "--only", "31120,31135,31147,31150", "--upstreams", "2", "--out", str(folder)])
        == 0
    )
    return folder


def change(folder: Path, old: str, new: str) -> None:
    """Put `new` in the place of `old`, wherever it stands first."""
    for path in sorted(folder.rglob("*.yml")):
        text = path.read_bytes()
        if old.encode() in text:
            path.write_bytes(text.replace(old.encode(), new.encode(), 1))
            return
    pytest.fail(f"{old!r} is nowhere in {folder}")


def problems(folder: Path) -> list[str]:
    return [f"{place}: {words}" for place, words in problems_of(folder, REPOSITORY / "playbooks/roles")[1]]


def test_the_official_list_has_every_unit_with_its_code_as_text() -> None:
    units = load_units()
    assert len(units) == 3321
    assert len({unit.code for unit in units}) == 3321
    assert all(len(unit.code) == 5 and unit.code.isdecimal() for unit in units)
    assert len(provinces()) == 34


@pytest.mark.parametrize("text", ["Cái Khế", "cai khe", "CAI KHE", "31120"])
def test_a_commune_is_found_with_or_without_its_accents(text: str) -> None:
    assert "31120" in {unit.code for unit in search(text)}


@pytest.mark.parametrize("code", sorted(provinces()))
def test_no_two_networks_of_a_province_overlap(code: str) -> None:
    plan = plan_province(code)
    networks = [plan.data_centre, plan.tunnels]
    networks += [network for site in plan.sites for network in (site.lan, site.line.network, site.second_line.network)]
    assert all(network.subnet_of(ipaddress.ip_network(f"10.{int(code)}.0.0/16")) for network in networks)
    ordered = sorted(networks, key=lambda network: int(network[0]))
    assert not [(one, two) for one, two in pairwise(ordered) if one.overlaps(two)]


@pytest.mark.parametrize("code", sorted(provinces()))
def test_every_province_gets_an_inventory_in_which_nothing_is_wrong(code: str, tmp_path: Path) -> None:
    assert main(["new", "--province", code, "--out", str(tmp_path)]) == 0
    inventory, found = problems_of(tmp_path, REPOSITORY / "playbooks/roles")
    assert found == []
    official = {unit.code for unit in load_units() if unit.province == code}
    assert {site.site for site in inventory.sites} == official | {"data-centre"}


def test_a_pilot_keeps_its_addresses_when_the_province_follows() -> None:
    whole = {site.unit.code: site.lan for site in plan_province("92").sites}
    pilot = {site.unit.code: site.lan for site in plan_province("92", ["31150", "31120"]).sites}
    assert pilot.items() <= whole.items()


def test_the_committed_province_is_what_the_command_writes() -> None:
    for name, text in files(plan_province("92")).items():
        assert (CAN_THO / name).read_text(encoding="utf-8") == text, name


@pytest.mark.parametrize("folder", [LAB, CAN_THO], ids=["lab", "can-tho"])
def test_nothing_is_wrong_with_the_committed_inventories(folder: Path) -> None:
    assert problems(folder) == []


def test_ansible_reads_the_same_groups_and_opens_the_vault(pilot: Path) -> None:
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(pilot), "--list"]
    command += ["--vault-password-file", str(pilot / ".vault-password")]
    settings = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=pilot, env=settings)
    assert "WARNING" not in done.stderr
    listed = json.loads(done.stdout)
    gateways = {node.node for node in read(pilot).nodes if node.kind == "gateway"}
    assert set(listed["gateway"]["hosts"]) == gateways
    variables = listed["_meta"]["hostvars"]["31120-gateway"]
    assert len(variables["vault_snmp_privacy_password"]) == 32
    assert variables["site_name"] == "Phường Cái Khế"


def test_no_secret_of_a_new_inventory_lies_open(pilot: Path) -> None:
    assert (pilot / "group_vars/all/vault.yml").read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    assert (pilot / ".vault-password").stat().st_mode & 0o077 == 0
    assert ".vault-password" in (pilot / ".gitignore").read_text()


def test_an_inventory_that_is_there_is_never_written_over(pilot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "--province", "92", "--out", str(pilot)]) == 1
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--province", "93"], "'93' is no province's code; `nhip inventory list` prints them"),
        (["--province", "92", "--only", "00004"], "00004: no commune of Cần Thơ has this code"),
        (["--province", "92", "--upstreams", "0"], "0 points of presence for 103 communes: choose from 1 to 103"),
    ],
)
def test_what_cannot_be_planned_says_why(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *arguments, "--out", str(tmp_path / "new")]) == 1
    assert capsys.readouterr().err.strip() == f"nhip inventory: {words}"
    assert not (tmp_path / "new").exists()


CASES = {
    "a duplicate address": (
        "ansible_host: 10.92.3.11",
        "ansible_host: 10.92.4.11",
        [
            "31147-counter-1 has the address 10.92.4.11, outside of its site's network 10.92.3.0/24",
            "31150-counter-1 has the address 10.92.4.11, which 31147-counter-1 has already",
        ],
    ),
    "an overlapping network": (
        "site_lan: 10.92.4.0/24",
        "site_lan: 10.92.0.0/21",
        ["10.92.0.0/21 of site 31150 overlaps 10.92.3.0/24 of site 31147"],
    ),
    "a network of another province": (
        "site_lan: 10.92.4.0/24",
        "site_lan: 10.93.4.0/24",
        ["10.93.4.0/24 is outside of the province's network 10.92.0.0/16"],
    ),
    "an unknown upstream": (
        "site_lan: 10.92.4.0/24",
        "site_lan: 10.92.4.0/24\n                site_second_upstream: pop_nowhere",
        ["there is no upstream 'pop_nowhere'; there are: carrier_tslcd, pop_an_binh, pop_cai_khe"],
    ),
    "a second line by the same upstream": (
        "site_lan: 10.92.4.0/24",
        "site_lan: 10.92.4.0/24\n                site_second_upstream: pop_an_binh",
        ["'pop_an_binh' is the first one too: such a second line protects from nothing"],
    ),
    "a missing variable": ("site_lan: 10.92.4.0/24\n", "\n", ["site_lan is missing"]),
    "a code that lost its quotes": ('site: "31150"', "site: 31150", ['site must be text: write site: "31150"']),
    "a name that is not the official one": (
        "site_name: Phường An Bình",
        "site_name: Phường An Binh",
        ["site_name 'Phường An Binh' is not the official one of 31150: Phường An Bình"],
    ),
    "a commune of another province": (
        'site: "31150"',
        'site: "00004"',
        ["00004 is Phường Ba Đình of Hà Nội, not of Cần Thơ"],
    ),
    "a code of nobody": ('site: "31150"', 'site: "99999"', ["site '99999' is on no official list"]),
    "a misspelt variable": (
        "site_lan: 10.92.4.0/24",
        "site_lan: 10.92.4.0/24\n                site_lann: x",
        ["nothing reads 'site_lann'; did you mean 'site_lan'?"],
    ),
    "a host of no kind": ("kind: workstation", "kind: printer", ["'printer' is no kind of host"]),
    "an open secret": (
        'province: "92"',
        'province: "92"\nvault_duty_url: mailto://duty',
        ["vault_duty_url lies open: encrypt it with `ansible-vault`, in group_vars/all/vault.yml"],
    ),
    "a check that does not exist": (
        "check: ntp_offset",
        "check: ntp_ofset",
        ["there is no check 'ntp_ofset'; did you mean 'ntp_offset'?"],
    ),
    "a metric that no check gives": (
        "metric: rtt_median_seconds, yellow",
        "metric: rtt_medium_seconds, yellow",
        ["stamp has no metric 'rtt_medium_seconds'; did you mean 'rtt_median_seconds'?"],
    ),
    "a limit of one site for no check": (
        "site_lan: 10.92.4.0/24",
        "site_lan: 10.92.4.0/24\n                site_limits: [{check: stam, metric: mos, red: {enter: 1, leave: 1}}]",
        ["there is no check 'stam'; did you mean 'stamp'?"],
    ),
    "a profile that asks for a service nobody has": (
        "service: dns}",
        "service: dnss}",
        ["measurement dns: the inventory has no service 'dnss' with checks"],
    ),
    "a criterion of no measurement": (
        "of: reach,",
        "of: reich,",
        ["link is of 'reich', which is no measurement; there are: reach, second_reach, line,"],
    ),
    "a criterion of a metric that is never measured": (
        "metric: jitter_forward_seconds",
        "metric: jitter_seconds",
        ["stamp has no metric 'jitter_seconds'"],
    ),
    "a name that stands for nothing": (
        'server: "{{ data_centre_dns }}"',
        'server: "{{ data_center_address }}"',
        ["there is no variable 'data_center_address'"],
    ),
    "not YAML": ("kind: data_centre_host", "kind: [data_centre_host", ["not valid YAML"]),
    "a key given twice": (
        "kind: data_centre_host",
        "kind: gateway\n          kind: data_centre_host",
        ["'kind' is given twice"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_mistake_is_named_with_its_file_and_line(case: str, pilot: Path) -> None:
    old, new, wanted = CASES[case]
    change(pilot, old, new)
    found = problems(pilot)
    for words in wanted:
        hits = [line for line in found if words in line]
        assert hits, found
        file, _, rest = hits[0].partition(":")
        assert (pilot / file).is_file()
        assert 1 <= int(rest.partition(":")[0]) <= len((pilot / file).read_text().splitlines())


def test_a_loop_of_groups_is_named(pilot: Path) -> None:
    (pilot / "sites/loop.yml").write_text(
        "all:\n  children:\n    pop_an_binh:\n      children:\n        carrier_tslcd:\n", encoding="utf-8"
    )
    assert any("carrier_tslcd is inside of itself, by way of pop_an_binh" in line for line in problems(pilot))


def test_several_mistakes_are_named_at_once(pilot: Path) -> None:
    change(pilot, 'site: "31150"', 'site: "99999"')
    change(pilot, "kind: workstation", "kind: printer")
    change(pilot, "check: ntp_offset", "check: ntp_ofset")
    assert len(problems(pilot)) == 3


def test_the_collector_takes_its_topology_from_the_inventory(pilot: Path, tmp_path: Path) -> None:
    path = tmp_path / "collector.yml"
    path.write_text(f"inventory: {pilot}\n")
    config = load(path)
    site = next(site for site in config.sites if site.site == "31120")
    assert (site.name, site.upstream, site.addresses) == ("Phường Cái Khế", "pop_cai_khe", ["10.92.240.6"])
    assert {item.upstream: item.parent for item in config.upstreams} == {
        "carrier_tslcd": "",
        "pop_an_binh": "carrier_tslcd",
        "pop_cai_khe": "carrier_tslcd",
    }
    assert "http://one-stop.can-tho.internal/" in next(s for s in config.services if s.service == "one-stop").targets


def test_a_broken_inventory_is_named_by_the_collector_with_file_and_line(pilot: Path, tmp_path: Path) -> None:
    change(pilot, "kind: workstation", "kind: printer")
    path = tmp_path / "collector.yml"
    path.write_text(f"inventory: {pilot}\n")
    with pytest.raises(ConfigError, match=r"^/.*/sites/pop_an_binh\.yml:\d+: 'printer' is no kind of host"):
        load(path)


def test_no_folder_is_no_inventory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "nowhere")]) == 1
    assert "is no folder" in capsys.readouterr().err


def test_programs_get_the_problems_as_json(pilot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(pilot, "kind: workstation", "kind: printer")
    capsys.readouterr()
    assert main(["check", str(pilot), "--format", "json"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["file"] == "sites/pop_an_binh.yml"


def test_addresses_are_each_given_once() -> None:
    addresses = [node.address for node in read(CAN_THO).nodes]
    assert not [one for one, two in combinations(sorted(addresses), 2) if one == two]


def test_a_copy_elsewhere_reads_the_same(tmp_path: Path) -> None:
    copy = shutil.copytree(LAB, tmp_path / "copy")
    assert read(copy) == read(LAB)

"""What people type and read: `tests/lab/lab`."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.lab.client import ROOT
from tests.lab.plan import PlanError, make_plan

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.client import Lab

COMMAND = ROOT / "tests" / "lab" / "lab"


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *words], check=False, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cut", "31120"], "31120: cut"),
        (["slow", "31120", "100ms"], "31120: 100ms slower"),
        (["lossy", "31120", "5%", "--way", "up"], "31120: 5% lost (up only)"),
        (["limit", "uplink", "20mbit"], "uplink: limited to 20mbit"),
        (["mtu", "pop_a", "1400"], "pop_a: over 1400 bytes vanish"),
        (["clock", "31120", "30s", "--behind"], "31120: clocks 30s behind"),
        (["impair", "31120-2", "jitter=20ms", "reorder=2%"], "31120-2: jitter=20ms reorder=2%"),
        (["fill-disk", "31120-gateway"], "31120-gateway: disk full"),
        (["kill-service", "31120-gateway", "ssh"], "31120-gateway: ssh killed"),
        (["stop-service", "one-stop", "web"], "one-stop: web stopped"),
        (["on-battery", "31120"], "31120: on battery"),
    ],
)
def test_a_verb_says_what_is_out_of_order_status_shows_it_and_heal_ends_it(
    whole: Lab, words: list[str], said: str
) -> None:
    name = ["--name", whole.places.name]
    assert typed(*name, *words).stdout == f"{said}\n"
    place, _, fault = said.partition(": ")
    (row,) = [line for line in typed(*name, "status").stdout.splitlines() if line.endswith(f"  {fault}")]
    assert place in row
    assert typed(*name, "heal", "all").stdout == f"healed {said}\n"
    assert typed(*name, "heal", "all").stdout == "nothing was out of order\n"


def test_a_host_that_was_put_out_of_order_and_lost_its_power_is_healed_power_first(whole: Lab) -> None:
    whole.ask("kill_service", host="31120-counter-1", unit="ssh")
    whole.ask("power_off", host="31120-counter-1")
    assert whole.ask("heal", place="31120-counter-1") == [
        "31120-counter-1: without power",
        "31120-counter-1: ssh killed",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cut", "31121"], "there is no line '31121'; there are: uplink, pop_a, pop_b, 31120, 31120-2"),
        (["slow", "31120", "fast"], "'fast' is not a duration such as 100ms or 1.5s"),
        (["impair", "31120", "speed=1"], "'speed=1' is not NAME=VALUE with a name of: delay, jitter,"),
        (["stop-service", "one-stop", "mail"], "one-stop has no service 'mail'; there are: web, dns"),
        (["ssh", "31121-gateway"], "there is no host '31121-gateway'; there are: data-centre, 31120-gateway"),
        (["open"], "no collector answers at data-centre yet; type: tests/lab/lab"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_can(whole: Lab, words: list[str], said: str) -> None:
    done = typed("--name", whole.places.name, *words)
    assert done.returncode
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lab_that_is_not_up_says_how_it_gets_up(whole: Lab) -> None:
    done = typed("--name", f"{whole.places.name}-x", "status")
    assert (
        done.stderr
        == f"lab: the lab {whole.places.name}-x is not up; type: tests/lab/lab --name {whole.places.name}-x up\n"
    )


def test_without_a_verb_the_menu_is_shown() -> None:
    assert "lab cut 31120" in typed().stdout


def test_what_is_no_inventory_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is no folder"):
        make_plan(tmp_path / "nowhere")
    with pytest.raises(PlanError, match=r"no file of group_vars/all/ says data_centre_lan, data_centre_router"):
        make_plan(tmp_path)
    (tmp_path / "sites.yml").write_text("all: [")
    with pytest.raises(PlanError, match=r"(?s)sites\.yml.*nhip inventory check"):
        make_plan(tmp_path)

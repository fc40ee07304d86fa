"""From an inventory to a province on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.lab import settings
from tests.lab.conftest import PROVINCE, SITES
from tests.lab.plan import Plan, PlanError, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def plan(two_sites: Path) -> Plan:
    return make_plan(two_sites)


def test_the_groups_of_an_inventory_become_hosts_and_lines(plan: Plan) -> None:
    assert [host.name for host in plan.hosts] == ["data-centre", "31120-gateway", "31120-counter-1"]
    ends = {line.name: (line.upper, line.lower) for line in plan.lines}
    assert ends == {
        "uplink": ("router", "carrier"),
        "pop_a": ("carrier", "pop_a"),
        "pop_b": ("carrier", "pop_b"),
        "31120": ("pop_a", "31120-gateway"),
        "31120-2": ("pop_b", "31120-gateway"),
    }


def test_a_technician_sets_up_the_first_line_and_leaves_the_rest_to_playbooks(plan: Plan) -> None:
    ports = {port.device: port for port in plan.host("31120-gateway").ports}
    assert ports["wan"].addresses == ("10.92.240.6/30",)
    assert ports["wan"].gateway == "10.92.240.5"
    assert ports["lan"].addresses == ports["wan2"].addresses == ()
    (counter,) = plan.host("31120-counter-1").ports
    assert (counter.addresses, counter.gateway) == (("10.92.1.11/24",), "10.92.1.1")


@pytest.mark.parametrize("broken", [{"31120"}, {"pop_a"}, {"31120", "pop_a"}])
def test_a_site_is_reached_by_its_other_line_when_its_first_is_broken_anywhere_on_the_way(
    plan: Plan, broken: set[str]
) -> None:
    before, after = plan.routes(set()), plan.routes(broken)
    assert before["pop_a"]["10.92.1.0/24"] == "10.92.240.6"
    assert "10.92.1.0/24" not in before["pop_b"]
    assert after["pop_b"]["10.92.1.0/24"] == "10.92.248.6"
    assert before["carrier"]["10.92.1.0/24"] != after["carrier"]["10.92.1.0/24"]


def test_a_site_without_any_whole_line_is_sought_at_its_first(plan: Plan) -> None:
    assert plan.routes({"31120", "31120-2"}) == plan.routes(set())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda site: site["vars"].pop("site_second_upstream"), "site_second_upstream is missing"),
        (lambda site: site["hosts"].pop("31120-gateway"), "no host of kind 'gateway'"),
    ],
)
def test_an_inventory_that_makes_no_province_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    sites = yaml.safe_load(yaml.safe_dump(SITES))
    change(sites["carrier"]["children"]["pop_a"]["children"]["site_31120"])
    (tmp_path / "sites.yml").write_text(yaml.safe_dump({"all": {"vars": PROVINCE, "children": sites}}))
    with pytest.raises(PlanError, match=words):
        make_plan(tmp_path)


def test_a_site_that_nobody_knows_is_refused_with_those_there_are(two_sites: Path) -> None:
    with pytest.raises(PlanError, match="no site 99999 in the inventory; there are: 31120, data-centre"):
        make_plan(two_sites, ["99999"])


def test_a_line_is_as_its_kind_but_for_what_its_name_says() -> None:
    shipped = settings.load_settings()
    usual, own = shipped.impairment("access", "31120"), shipped.impairment("access", "31150")
    assert usual.delay_seconds != own.delay_seconds
    assert usual.rate_bits_per_second == own.rate_bits_per_second == 50e6


def test_a_misspelt_property_of_a_line_is_named_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "province.yml"
    file.write_text("base: {suite: bookworm, packages: []}\nlines: {access: {delay: 1}}\n")
    with pytest.raises(
        settings.ConfigError, match=r"province.yml: \$.lines.access.delay: is unknown; there are: .*delay_s"
    ):
        settings.load_settings(file)

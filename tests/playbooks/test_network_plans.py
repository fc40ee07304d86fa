"""What the roles gateway, vpn and workstation refuse, and what they work out from an inventory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.playbooks.role_files import load

gateway = load("gateway/filter_plugins/gateway_plan.py")
vpn = load("vpn/filter_plugins/vpn_plan.py")
browsers = load("workstation/filter_plugins/workstation_browsers.py")
MISTAKES = yaml.safe_load((Path(__file__).parent / "plan_mistakes.yml").read_text(encoding="utf-8"))


def link(name: str, *addresses: str, kind: str = "veth") -> dict[str, Any]:
    """Return an interface as `ip -json -details address` has it."""
    entries = [{"family": "inet", "local": address} for address in addresses]
    return {"ifname": name, "addr_info": entries, "linkinfo": {"info_kind": kind}}


PLAN: dict[str, Any] = {
    "found": [
        link("lo", "127.0.0.1"),
        link("wan", "10.92.240.6"),
        link("wan2"),
        link("lan"),
        link("down0", kind="ifb"),
    ],
    "connected": "10.92.240.6",
    "site_lan": "10.92.1.0/24",
    "data_centre_lan": "10.92.0.0/24",
    "uplinks": [
        {"interface": "wan", "address": "10.92.240.6/30", "via": "10.92.240.5"},
        {"interface": "wan2", "address": "10.92.248.6/30", "via": "10.92.248.5"},
    ],
    "lan_interface": "lan",
    "lan_address": "10.92.1.1/24",
    "dhcp_range": {"first": "10.92.1.100", "last": "10.92.1.199"},
    "fixed_leases": [{"name": "printer", "mac": "02:92:00:00:00:0B", "address": "10.92.1.20"}],
    "probe_rule": {"fall_lost": 3, "fall_of": 5, "rise_answered": 57, "rise_of": 60},
    "probe_targets": ["10.92.0.10"],
    "traffic_shares": {"meeting": 30, "one_stop": 30, "other": 30, "bulk": 10},
    "traffic_addresses": {"meeting": [], "one_stop": ["10.92.0.20"], "bulk": ["10.92.0.0/28"]},
    "traffic_dscp": {"meeting": [46], "one_stop": [], "bulk": [8, 1]},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the plan with one thing changed: `uplinks.0.via`."""
    plan: Any = copy.deepcopy(PLAN)
    *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
    inner = plan
    for part in way:
        inner = inner[part]
    inner[last] = value
    return dict(plan)


def test_a_sound_plan_has_no_problems() -> None:
    assert gateway.gateway_problems(PLAN) == []


@pytest.mark.parametrize("mistake", MISTAKES["gateway"], ids=lambda mistake: mistake["change"])
def test_a_mistake_in_a_gateways_plan_is_named(mistake: dict[str, Any]) -> None:
    assert gateway.gateway_problems(changed(mistake["change"], mistake["to"])) == [mistake["says"]]


def test_all_mistakes_are_named_at_once() -> None:
    plan = changed("uplinks.0.via", "x") | {"lan_interface": "nal", "probe_targets": ["y"]}
    assert [problem.split(":")[0] for problem in gateway.gateway_problems(plan)] == [
        "gateway_uplinks[0].via", "gateway_lan_interface", "gateway_probe_targets[0]",
    ]  # fmt: skip


def test_a_lease_that_is_given_twice_is_named_with_the_first() -> None:
    one = {"name": "a", "mac": "02:92:00:00:00:0b", "address": "10.92.1.20"}
    leases = [one, {"name": "A", "mac": "02:92:00:00:00:0B", "address": "10.92.1.21"}]
    assert gateway.gateway_problems(PLAN | {"fixed_leases": leases}) == [
        "gateway_fixed_leases[1].name: A is taken by gateway_fixed_leases[0]",
        "gateway_fixed_leases[1].mac: 02:92:00:00:00:0B is taken by gateway_fixed_leases[0]",
    ]


def test_a_plan_that_takes_away_the_address_we_came_by_is_refused() -> None:
    plan = changed("uplinks.0", {"interface": "wan", "address": "10.92.240.10/30", "via": "10.92.240.9"})
    (problem,) = gateway.gateway_problems(plan)
    assert "reached at 10.92.240.6 on wan, and the plan gives that 10.92.240.10/30, which would cut the conn" in problem
    assert gateway.gateway_problems(plan | {"connected": ""}) == [], "at the console nothing is cut"


def test_a_lines_rate_is_the_common_one_unless_it_has_its_own() -> None:
    uplink = PLAN["uplinks"][0] | {"upload_bits_per_second": 10_000_000}
    assert gateway.gateway_line(uplink, 200_000_000, 0.95) == {
        "interface": "wan", "upload_bits_per_second": 9_500_000, "download_bits_per_second": 190_000_000,
    }  # fmt: skip
    assert gateway.gateway_uplink(uplink) == {"interface": "wan", "address": "10.92.240.6", "via": "10.92.240.5"}


TUNNEL: dict[str, Any] = {
    "host": "31120-gateway", "hub": "data-centre", "province_vpn_network": "10.92.254.0/24", "address": "10.92.254.2",
    "hub_address": "10.92.254.1", "endpoint": "10.92.0.10", "hub_networks": [], "mtu": 1420,
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES["vpn"], ids=lambda mistake: mistake["change"])
def test_a_mistake_in_a_tunnels_plan_is_named(mistake: dict[str, Any]) -> None:
    assert vpn.vpn_problems(TUNNEL) == []
    assert vpn.vpn_problems(TUNNEL | {mistake["change"]: mistake["to"]}) == [mistake["says"]]


@given(st.sets(st.integers(0, 200), min_size=2))
def test_no_two_gateways_share_an_address_in_the_tunnel_and_none_has_the_hubs(lans: set[int]) -> None:
    addresses = {vpn.vpn_address("10.92.254.0/24", f"10.92.{lan}.0/24") for lan in lans if lan > 0}
    assert len(addresses) == len(lans - {0})
    assert vpn.vpn_address("10.92.254.0/24", 1) not in addresses


def test_browsers_hear_of_a_proxy_each_in_its_own_words() -> None:
    proxy, exceptions = "10.92.0.10:3128", ["can-tho.internal", "10.92.0.0/16"]
    chromium, firefox = browsers.workstation_chromium_proxy, browsers.workstation_firefox_proxy
    assert chromium(proxy, exceptions)["ProxyBypassList"] == ".can-tho.internal,10.92.0.0/16"
    assert (chromium(proxy, exceptions)["ProxyServer"], firefox(proxy, exceptions)["HTTPProxy"]) == (proxy, proxy)
    assert firefox(proxy, exceptions)["Passthrough"] == ".can-tho.internal, 10.92.0.0/16"
    assert chromium("", exceptions) == {"ProxyMode": "direct"}
    assert firefox("", exceptions) == {"Mode": "none", "Locked": True}

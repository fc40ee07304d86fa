"""Openings become rules, and nftables itself is the judge of the whole file."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import jinja2
import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.playbooks.role_files import ROLES, load

RULES = load("firewall/filter_plugins/firewall_rules.py")
NETWORKS = {
    "management": ["10.92.0.2"],
    "data_centre": ["10.92.0.0/24", "fd00:92::/64"],
    "nobody": [],
}

addresses = st.sampled_from(
    ["management", "data_centre", "nobody", "10.1.2.3", "10.9.0.0/16", "fd00::1", "fd00:1::/32"]
)
ports = st.one_of(st.integers(1, 65535), st.builds("{}-{}".format, st.integers(1, 99), st.integers(99, 65535)))
some = st.lists(addresses, min_size=1, max_size=3, unique=True)
openings = st.fixed_dictionaries(
    {"comment": st.text("abcĐềữ :/{}#$", min_size=1, max_size=30)},
    optional={"from": some, "to": some, "interface": st.just("lan"), "out_interface": st.just("wan")},
)
with_service = st.one_of(
    openings,
    st.builds(
        lambda opening, protocol: opening | {"protocol": protocol}, openings, st.sampled_from(["icmp", "icmpv6"])
    ),
    st.builds(
        lambda opening, protocol, port: opening | {"protocol": protocol, "port": port},
        openings,
        st.lists(st.sampled_from(["tcp", "udp"]), min_size=1, unique=True),
        st.lists(ports, min_size=1, max_size=1) | ports,
    ),
)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a network namespace")
@settings(max_examples=25, deadline=None)
@given(opens=st.lists(with_service, max_size=5), forwards=st.lists(with_service, max_size=5))
def test_nftables_takes_whatever_the_roles_may_declare(opens: list[Any], forwards: list[Any]) -> None:
    judged = _check(_file(opens, forwards))
    assert judged.returncode == 0, judged.stderr


def test_an_opening_for_named_networks_is_one_rule_an_address_family() -> None:
    opening = {"from": "data_centre", "protocol": "tcp", "port": 8443, "comment": "collector"}
    assert RULES.firewall_rules([opening], NETWORKS) == [
        'ip saddr @data_centre tcp dport 8443 counter accept comment "collector"',
        'ip6 saddr @data_centre6 tcp dport 8443 counter accept comment "collector"',
    ]


def test_an_opening_for_an_address_is_for_its_family_alone() -> None:
    opening = {"from": "10.1.2.3", "interface": "lan", "protocol": ["udp", "tcp"], "port": 53, "comment": "DNS"}
    assert RULES.firewall_rules([opening], NETWORKS) == [
        'iifname "lan" ip saddr { 10.1.2.3 } udp dport 53 counter accept comment "DNS"',
        'iifname "lan" ip saddr { 10.1.2.3 } tcp dport 53 counter accept comment "DNS"',
    ]


def test_an_opening_whose_networks_are_all_empty_opens_nothing_to_everybody() -> None:
    """`from: []` would mean anybody; a list that an inventory emptied must not."""
    with pytest.raises(AnsibleFilterError, match=r"ssh: from is empty"):
        RULES.firewall_rules([{"from": [], "protocol": "tcp", "port": 22, "comment": "ssh"}], NETWORKS)


@pytest.mark.parametrize(
    ("opening", "words"),
    [
        (
            {"protocol": "tcp", "port": 0, "comment": "x"},
            "x: port 0 is neither 1 to 65535 nor a range such as 5000-5010",
        ),
        ({"protocol": "tcp", "comment": "x"}, "x: protocol tcp or udp and port belong together"),
        ({"port": 22, "comment": "x"}, "x: protocol tcp or udp and port belong together"),
        ({"protocol": "tpc", "port": 22, "comment": "x"}, "x: protocol 'tpc' is none of tcp, udp, icmp, icmpv6"),
        (
            {"from": "managment", "protocol": "icmp", "comment": "x"},
            "x: 'managment' is neither an address nor one of firewall_networks (data_centre, management, nobody)",
        ),
        (
            {"form": "x", "comment": "x"},
            "x: unknown key 'form'; known are from, to, interface, out_interface, protocol, port",
        ),
        ({"protocol": "icmp"}, "comment has to say in at most 120 bytes, without double quotes, what it is for"),
    ],
)
def test_a_wrong_opening_is_named_with_what_would_be_right(opening: dict[str, Any], words: str) -> None:
    assert words in "; ".join(RULES.firewall_problems([opening], NETWORKS))


def _file(opens: list[Any], forwards: list[Any]) -> str:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701  (no HTML)
    environment.filters |= RULES.FilterModule().filters()
    template = environment.from_string((ROLES / "firewall/templates/nftables.conf.j2").read_text(encoding="utf-8"))
    return template.render(
        firewall_networks=NETWORKS,
        firewall_log_per_minute=6,
        firewall_pings=[{"from": ["data_centre"], "protocol": ["icmp", "icmpv6"], "comment": "ping"}],
        firewall_all_open=opens,
        firewall_all_forward=forwards,
    )


def _check(rules: str) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "--net", "nft", "--check", "--file", "-"]
    return subprocess.run(command, input=rules, capture_output=True, text=True, check=False)

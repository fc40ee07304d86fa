"""lan_hygiene on bridges of our own: real DHCP servers and routers, wanted or not, and shared addresses."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.lan_frames import Asker, Heard, take_in
from checks.strict import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.checks.lab import Lab, Node

HOST, GATEWAY, OTHER = "02:92:00:00:00:00", "02:92:00:00:00:01", "02:92:00:00:00:02"
QUICK = {"listen_seconds": 1.5}


@pytest.fixture
def lan(lab: Lab) -> list[Node]:
    """Wire a host (10.92.0.1), its gateway (.2) and another machine (.3)."""
    nodes = lab.lan(3)
    nodes[0].ip("route add default via 10.92.0.2")
    return nodes


def serve_dhcp(lab: Lab, node: Node, number: int, home: Path) -> Path:
    """Run a dnsmasq that gives out addresses and advertises itself as an IPv6 router; return the file of its leases."""
    program = shutil.which("dnsmasq", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("dnsmasq is not installed (apt install dnsmasq-base)")
    leases = home / f"leases{number}"
    options = (
        "keep-in-foreground", "conf-file=/dev/null", "port=0", "interface=eth0", "bind-interfaces", "user=root",
        f"dhcp-range=10.92.0.{number}0,10.92.0.{number}9,1h", f"dhcp-leasefile={leases}", "enable-ra",
        f"dhcp-range=fd92:{number}::,ra-only", f"pid-file={home / f'pid{number}'}", "log-facility=-", "no-ping",
    )  # fmt: skip
    node.ip(f"address add fd92:{number}::1/64 dev eth0 nodad")
    process = lab.started(node, program, *(f"--{option}" for option in options))
    assert process.stdout is not None
    said: list[str] = []
    while not any("DHCP, IP range" in line for line in said):
        said.append(process.stdout.readline())
        assert said[-1], f"dnsmasq ended: {said}"
    return leases


def test_a_clean_lan_is_all_zero_and_no_lease_is_taken(lab: Lab, lan: list[Node], tmp_path: Path) -> None:
    leases = serve_dhcp(lab, lan[1], 3, tmp_path)
    result = lan[0].measure("lan_hygiene", "eth0", allowed_dhcp_servers=["10.92.0.2"], allowed_routers=[GATEWAY])
    assert (result["reason"], result["error"], result["notes"], result["exit"]) == (None, None, [], 0)
    metrics = result["metrics"]
    assert (metrics.pop("gateway_mac_changed", 0), metrics.pop("frames_sent")) == (0, 8)
    assert metrics == {
        "duplicate_addresses": 0, "dhcp_servers": 1, "rogue_dhcp_servers": 0, "routers": 1, "rogue_routers": 0,
        "gateway_macs": 1,
    }  # fmt: skip
    assert "10.92.0." not in leases.read_text(encoding="ascii")


def test_servers_and_routers_that_nobody_allowed_are_named(lab: Lab, lan: list[Node], tmp_path: Path) -> None:
    serve_dhcp(lab, lan[1], 3, tmp_path)
    serve_dhcp(lab, lan[2], 4, tmp_path)
    judged = lan[0].measure(
        "lan_hygiene", "eth0", allowed_dhcp_servers=[GATEWAY.upper()], allowed_routers=["fe80::92:ff:fe00:1"]
    )
    assert [judged["metrics"][name] for name in ("dhcp_servers", "rogue_dhcp_servers")] == [2, 1]
    assert [judged["metrics"][name] for name in ("routers", "rogue_routers")] == [2, 1]
    assert judged["notes"] == [
        f"DHCP server 10.92.0.3 ({OTHER}) is not allowed here",
        f"IPv6 router fe80::92:ff:fe00:2 ({OTHER}) is not allowed here",
    ]
    assert judged["exit"] == 2
    counted = lan[0].measure("lan_hygiene", "eth0")
    assert (counted["metrics"]["dhcp_servers"], counted["metrics"]["routers"], counted["exit"]) == (2, 2, 1)
    assert not {"rogue_dhcp_servers", "rogue_routers"} & set(counted["metrics"])
    assert f"DHCP server 10.92.0.2 ({GATEWAY})" in counted["notes"]


def test_addresses_used_twice_are_told_with_their_machines(lan: list[Node]) -> None:
    lan[2].ip("address add 10.92.0.1/24 dev eth0", "address add 10.92.0.2/24 dev eth0")
    result = lan[0].measure("lan_hygiene", "eth0", **QUICK)
    assert (result["metrics"]["duplicate_addresses"], result["metrics"]["gateway_macs"]) == (2, 2)
    assert result["notes"][:2] == [
        f"10.92.0.1 is used by {HOST} and {OTHER}",
        f"10.92.0.2 is used by {GATEWAY} and {OTHER}",
    ]
    assert result["exit"] == 2


def test_a_gateway_that_changes_is_told_once_if_it_is_remembered(lan: list[Node], tmp_path: Path) -> None:
    kept = {**QUICK, "state_file": str(tmp_path / "gateways")}
    first = lan[0].measure("lan_hygiene", "eth0", **kept)
    assert first["metrics"].get("gateway_mac_changed", 0) == 0
    lan[1].ip("link set eth0 address 02:92:00:00:00:77")
    lan[0].ip("neighbour flush all")
    changed = lan[0].measure("lan_hygiene", "eth0", **kept)
    assert (changed["metrics"]["gateway_mac_changed"], changed["exit"]) == (1, 2)
    assert changed["notes"] == [f"the gateway 10.92.0.2 was {GATEWAY}, and now 02:92:00:00:00:77 answers"]
    assert lan[0].measure("lan_hygiene", "eth0", **kept)["metrics"]["gateway_mac_changed"] == 0


def test_a_gateway_is_compared_with_what_is_configured_else_with_what_the_kernel_believes(lan: list[Node]) -> None:
    assert lan[0].measure("lan_hygiene", "eth0", gateway_mac=OTHER, **QUICK)["metrics"]["gateway_mac_changed"] == 1
    assert lan[0].measure("lan_hygiene", "eth0", gateway_mac=GATEWAY, **QUICK)["metrics"]["gateway_mac_changed"] == 0
    lan[0].ip(f"neighbour replace 10.92.0.2 lladdr {OTHER} dev eth0")
    assert lan[0].measure("lan_hygiene", "eth0", **QUICK)["metrics"]["gateway_mac_changed"] == 1
    other = lan[0].measure("lan_hygiene", "eth0", gateway="10.92.0.9", **QUICK)
    assert other["metrics"]["gateway_macs"] == 0
    assert "gateway_mac_changed" not in other["metrics"]


def test_without_the_right_an_interface_or_a_place_to_remember_it_says_what_is_missing(
    lan: list[Node], tmp_path: Path
) -> None:
    words = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, "nhip.py", "check", "run")
    refused = lan[0].run(*words, "lan_hygiene", "--target", "eth0", "--format", "json", check=False)
    assert json.loads(refused.stdout)["error"] == (
        "no permission to speak on the LAN: this process has no CAP_NET_RAW. "
        "In the service's unit: AmbientCapabilities=CAP_NET_RAW"
    )
    assert refused.returncode == 3
    assert lan[0].measure("lan_hygiene", "eth7")["error"] == (
        "this machine has no interface 'eth7'; there are: eth0, lo"
    )
    assert lan[0].measure("lan_hygiene", "lo")["error"] == "interface lo is no Ethernet: it has no MAC address"
    (tmp_path / "state").write_text("no JSON", encoding="ascii")
    spoilt = lan[0].measure("lan_hygiene", "eth0", state_file=str(tmp_path / "state"))
    assert spoilt["error"] == f"state_file {tmp_path}/state holds something else; remove it, or name another file"
    lan[0].ip("link set eth0 down")
    assert lan[0].measure("lan_hygiene", "eth0")["error"] == "interface eth0 is down: nothing can be asked there"


def test_a_lan_that_shouts_does_not_keep_it_from_its_end(lab: Lab, lan: list[Node]) -> None:
    shout = (
        "import socket, os\n"
        "s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0))\n"
        "head = bytes.fromhex('ffffffffffff0292000000020806')\n"
        "claim = head + bytes.fromhex('0001080006040002')\n"
        "print('on', flush=True)\n"
        "while True: s.send(head + os.urandom(46)); s.send(claim + os.urandom(38))\n"
    )
    process = lab.started(lan[2], sys.executable, "-c", shout)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    began = time.monotonic()
    result = lan[0].measure("lan_hygiene", "eth0", timeout_seconds=60, **QUICK)
    assert (result["error"], result["reason"]) == (None, None)
    assert result["notes"][0] == "the LAN is flooded: what came after 5000 frames was not looked at"
    assert time.monotonic() - began < 50


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"listen_seconds": 8}, "timeout_seconds (10) must be at least 12: listen_seconds + 4"),
        ({"gateway": "fd92::1"}, "gateway 'fd92::1' is not an IPv4 address"),
        ({"gateway_mac": "0292"}, "gateway_mac '0292' is not written 02:00:5e:10:00:01"),
        ({"allowed_routers": ["10.0.0.1"]}, "allowed_routers: '10.0.0.1' is neither an IPv6 address nor a MAC"),
        ({"allowed_dhcp_servers": ["dhcp"]}, "allowed_dhcp_servers: 'dhcp' is neither an IPv4 address nor a MAC"),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("lan_hygiene", parameters)
    assert message in str(caught.value)


QUESTIONS = Asker(HOST, ("10.92.0.1",), "fe80::1", 7).frames("10.92.0.2", 0)


@given(data=st.binary(max_size=400))
def test_any_bytes_are_no_offer_and_break_nothing(data: bytes) -> None:
    heard = Heard()
    for kind in (b"\x08\x06", b"\x08\x00", b"\x86\xdd"):
        take_in(heard, bytes(12) + kind + data, 7)
    take_in(heard, data, 7)
    assert not heard.dhcp_servers
    assert all(isinstance(each, str) for claims in heard.macs.items() for each in (claims[0], *claims[1]))


@given(which=st.sampled_from(QUESTIONS), at=st.integers(0, 400), value=st.integers(0, 255), cut=st.integers(0, 400))
def test_real_frames_that_were_damaged_break_nothing(which: bytes, at: int, value: int, cut: int) -> None:
    damaged = bytearray(which)
    damaged[at % len(damaged)] = value
    heard = Heard()
    take_in(heard, bytes(damaged[: max(1, len(damaged) - cut)]), 7)
    assert len(heard.macs) <= 1


def test_an_offer_of_another_transaction_is_not_ours() -> None:
    from scapy.layers.dhcp import BOOTP, DHCP  # noqa: PLC0415  (here alone)
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    options = [("message-type", "offer"), ("server_id", "10.92.0.2"), "end"]
    ends = Ether(src=GATEWAY, dst=HOST) / IP(src="10.92.0.2", dst="10.92.0.9") / UDP(sport=67, dport=68)
    offer = bytes(ends / BOOTP(op=2, xid=7) / DHCP(options=options))
    heard = Heard()
    take_in(heard, offer, 8)
    assert heard.dhcp_servers == set()
    take_in(heard, offer, 7)
    assert heard.dhcp_servers == {("10.92.0.2", GATEWAY)}

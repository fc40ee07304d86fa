"""route through real routers: chains and diamonds of network namespaces; and its parsers on any bytes."""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.icmp_socket import checksum
from checks.refusals import read_refusal
from checks.route import Route, summary
from checks.route_path import changed_since, differs, loops, merged, path_id
from checks.route_probe import IcmpWire, PlainUdpWire, TcpWire, UdpWire
from checks.route_socket import flow_of
from checks.route_trace import Hop
from checks.run import run
from checks.strict import ConfigError
from tests.checks.lab import ROUTER

if TYPE_CHECKING:
    from checks.address import Address
    from checks.route_probe import Wire
    from tests.checks.lab import Chain, Lab, Node

PROTOCOLS = ("icmp", "udp", "tcp")
UNPRIVILEGED = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")


def addresses(result: dict[str, Any]) -> list[str]:
    return [note.split()[1] for note in result["notes"]]


def metrics_of_hops(result: dict[str, Any], name: str) -> list[int]:
    return [hop for hop in range(1, 65) if f"{name}[{hop}]" in result["metrics"]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_hop_is_named_in_its_order_and_has_its_round_trip(chain: Chain, protocol: str) -> None:
    chain.wait_for_ipv6()
    for target, network in ((chain.target, "10.92.{}.2"), (chain.target6, "fd92:{}::2")):
        result = chain.host.measure("route", target, protocol=protocol)
        metrics = result["metrics"]
        assert (result["reason"], result["error"], result["exit"]) == (None, None, 0)
        assert addresses(result) == [str(network.format(hop)).replace(":0:", ":") for hop in range(5)]
        assert (metrics["reached"], metrics["hops"], metrics["loop"], metrics["packets_sent"]) == (1, 5, 0, 15)
        assert metrics_of_hops(result, "rtt_seconds") == metrics_of_hops(result, "loss_ratio") == [1, 2, 3, 4, 5]
        assert metrics["first_hop_rtt_seconds"] == metrics["rtt_seconds[1]"] > 0
        assert metrics["second_hop_loss_ratio"] == metrics["loss_ratio[2]"] == 0
        assert metrics["destination_rtt_seconds"] == metrics["rtt_seconds[5]"]
        assert "path_changed" not in metrics, "there is nothing yet to compare with"


def test_a_service_is_reached_by_tcp_and_its_connections_are_not_left_open(chain: Chain, lab: Lab) -> None:
    listening = "import socket; s = socket.create_server(('10.92.4.2', 443)); print('on', flush=True); s.accept()"
    server = lab.started(chain.far, sys.executable, "-c", listening)
    assert server.stdout is not None
    assert server.stdout.readline() == "on\n"
    result = chain.host.measure("route", chain.target, protocol="tcp")
    assert (result["metrics"]["reached"], result["metrics"]["hops"]) == (1, 5)
    assert result["metrics"]["destination_loss_ratio"] == 0
    assert chain.far.run("ss", "-tnH").stdout == ""


def test_a_hop_that_says_nothing_is_no_loss_as_long_as_it_passes_packets_on(chain: Chain) -> None:
    chain.routers[1].nft("output", "ip protocol icmp drop")
    result = chain.host.measure("route", chain.target)
    assert metrics_of_hops(result, "loss_ratio") == [1, 3, 4, 5]
    assert not {"second_hop_rtt_seconds", "second_hop_loss_ratio"} & set(result["metrics"])
    assert result["notes"][1] == " 2  does not answer, but passes packets on"
    assert (result["metrics"]["reached"], result["metrics"]["hops"]) == (1, 5)


def test_a_line_that_is_cut_behind_the_gateway_shows_as_loss_of_the_second_hop(chain: Chain) -> None:
    chain.routers[0].nft("forward", "drop")
    result = chain.host.measure("route", chain.target, max_hops=5)
    assert result["reason"] == f"{chain.target} does not answer; the last hop that does is 1, 10.92.0.2"
    assert (result["metrics"]["reached"], result["metrics"]["hops"]) == (0, 1)
    assert (result["metrics"]["first_hop_loss_ratio"], result["metrics"]["second_hop_loss_ratio"]) == (0, 1)
    assert result["exit"] == 2


def test_a_gateway_that_is_gone_shows_as_loss_of_the_first_hop(chain: Chain) -> None:
    chain.routers[0].nft("prerouting", "ip protocol icmp drop")
    result = chain.host.measure("route", chain.target, max_hops=5)
    assert result["reason"] == f"nobody answers on the way to {chain.target}, not even the first hop"
    assert (result["metrics"]["first_hop_loss_ratio"], result["metrics"]["hops"]) == (1, 0)
    assert result["notes"] == []


def test_the_share_that_a_gateway_loses_is_counted(chain: Chain) -> None:
    chain.routers[0].nft("output", "ip protocol icmp icmp type time-exceeded numgen inc mod 3 == 0 drop")
    result = chain.host.measure("route", chain.target)
    assert result["metrics"]["first_hop_loss_ratio"] == pytest.approx(1 / 3)
    assert result["notes"][0].endswith(" ms  1 of 3 lost")


def test_a_router_without_a_way_on_is_named(chain: Chain) -> None:
    chain.wait_for_ipv6()
    chain.routers[2].ip("route replace unreachable 10.92.4.0/24", "route replace unreachable fd92:4::/64")
    four = chain.host.measure("route", chain.target)
    assert four["reason"] == "host unreachable, says 10.92.2.2"
    assert (four["metrics"]["reached"], four["metrics"]["hops"], four["exit"]) == (0, 3, 2)
    assert four["metrics"]["packets_sent"] < 30, "beyond that router nobody is asked"
    assert chain.host.measure("route", chain.target6)["reason"] == "no route to the destination, says fd92:2::2"


def test_a_circle_is_seen_and_its_routers_are_named(chain: Chain) -> None:
    for node, via in zip([chain.host, *chain.routers[:3]], ("0.2", "1.2", "2.2", "2.1"), strict=True):
        node.ip(f"route add 203.0.113.0/24 via 10.92.{via}")
    result = chain.host.measure("route", "203.0.113.1", max_hops=12)
    assert result["reason"] == "packets run in a circle: 10.92.2.2, 10.92.2.1"
    assert (result["metrics"]["loop"], result["metrics"]["reached"], result["metrics"]["hops"]) == (1, 0, 12)


def test_a_path_that_changes_in_its_middle_is_told_once(chain: Chain, lab: Lab) -> None:
    agent = lab.agent(chain.host)
    first, again = agent.measure("route", chain.target), agent.measure("route", chain.target)
    assert "path_changed" not in first["metrics"]
    assert (again["metrics"]["path_changed"], again["metrics"]["path_id"]) == (0, first["metrics"]["path_id"])
    lab.link(chain.routers[1], chain.routers[2], 7, ("other", "other"))
    chain.routers[1].ip("route replace 10.92.4.0/24 via 10.92.7.2")
    other = agent.measure("route", chain.target)
    assert addresses(other)[2] == "10.92.7.2"
    assert other["metrics"]["path_changed"] == 1
    assert other["metrics"]["path_id"] != first["metrics"]["path_id"]
    assert agent.measure("route", chain.target)["metrics"]["path_changed"] == 0


def test_where_two_paths_are_equal_a_measurement_keeps_to_one_and_so_does_the_next(lab: Lab) -> None:
    host = diamond(lab)
    agent = lab.agent(host)
    seen = set()
    for port in range(33_434, 33_450):
        result = agent.measure("route", "10.92.5.2", protocol="udp", port=port, probes=4)
        names = tuple(addresses(result))
        assert names in {
            ("10.92.0.2", "10.92.1.2", "10.92.3.2", "10.92.5.2"),
            ("10.92.0.2", "10.92.2.2", "10.92.4.2", "10.92.5.2"),
        }
        assert agent.measure("route", "10.92.5.2", protocol="udp", port=port)["metrics"]["path_changed"] == 0
        seen.add(names)
    assert len(seen) == 2, "the two paths are both in use: by other flows"
    for protocol in ("icmp", "tcp"):
        result = agent.measure("route", "10.92.5.2", protocol=protocol, probes=4)
        assert tuple(addresses(result)) in seen


def diamond(lab: Lab) -> Node:
    """Wire host - r1 - (a or b) - r3 - far, where r1 spreads flows over a and b by their ports."""
    host, first, a, b, third, far = lab.node(), *(lab.node(*ROUTER) for _ in range(5))
    lab.link(host, first, 0)
    lab.link(first, a, 1, ("to_a", "left"))
    lab.link(first, b, 2, ("to_b", "left"))
    lab.link(a, third, 3, ("right", "from_a"))
    lab.link(b, third, 4, ("right", "from_b"))
    lab.link(third, far, 5)
    host.ip("route add default via 10.92.0.2")
    first.sysctl("net.ipv4.fib_multipath_hash_policy=1")
    first.ip("route add 10.92.5.0/24 nexthop via 10.92.1.2 nexthop via 10.92.2.2")
    for node, subnet in ((a, 3), (b, 4)):
        node.ip(f"route add 10.92.5.0/24 via 10.92.{subnet}.2", f"route add default via 10.92.{subnet - 2}.1")
    third.ip("route add default via 10.92.3.1")
    far.ip("route add default via 10.92.5.1")
    return host


def test_without_any_right_icmp_and_udp_still_work_and_tcp_says_what_it_needs(chain: Chain) -> None:
    chain.wait_for_ipv6()
    chain.host.sysctl("net.ipv4.ping_group_range=0 2147483647")
    for protocol in PROTOCOLS:
        command = ("nhip.py", "check", "run", "route", "--set", f"protocol={protocol}", "--format", "json", "--target")
        for target in (chain.target, chain.target6):
            result = json.loads(chain.host.run(*UNPRIVILEGED, sys.executable, *command, target, check=False).stdout)
            if protocol == "tcp":
                assert "no permission to trace a route by tcp" in result["error"]
                assert "AmbientCapabilities=CAP_NET_RAW" in result["error"]
            else:
                assert (result["error"], result["metrics"]["hops"]) == (None, 5)
    chain.host.sysctl("net.ipv4.ping_group_range=1 0")
    command = ("nhip.py", "check", "run", "route", "--target", chain.target)
    refused = chain.host.run(*UNPRIVILEGED, sys.executable, *command, check=False)
    assert refused.returncode == 3
    assert "or: sysctl -w net.ipv4.ping_group_range='0 2147483647'" in refused.stdout


def test_a_destination_that_is_no_place_here_is_said_by_this_machine(chain: Chain) -> None:
    result = chain.host.measure("route", "198.51.100.1")
    assert result["reason"] == "network is unreachable (said by this machine)"
    assert result["metrics"] == {"reached": 0, "packets_sent": 0}


def test_a_firewall_of_our_own_is_our_error(chain: Chain) -> None:
    chain.host.nft("output", "drop")
    assert chain.host.measure("route", chain.target)["error"] == (
        "this machine's own firewall does not let the probes out"
    )


async def test_a_source_that_is_not_ours_and_a_port_in_use_are_said() -> None:
    foreign = await run(Route(source="192.0.2.77", protocol="udp"), "127.0.0.1", site="s", node="n")
    assert foreign.error == "cannot send from source 192.0.2.77: Cannot assign requested address"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", flow_of("udp 127.0.0.1 33434")))
        beside = await run(Route(protocol="udp", source="127.0.0.1"), "127.0.0.1", site="s", node="n")
    assert (beside.metrics["reached"], beside.metrics["hops"]) == (1, 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"protocol": "sctp"}, "$.protocol: 'sctp' is not one of: icmp, udp, tcp"),
        ({"port": 80}, "port: ICMP has no ports; leave it out, or choose protocol udp or tcp"),
        ({"max_hops": 65}, "$.max_hops: expected `int` <= 64"),
        (
            {"timeout_seconds": 1},
            "timeout_seconds (1) must be at least 2.4: probes x max_hops x interval_seconds + packet_timeout_seconds",
        ),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("route", parameters)
    assert message in str(caught.value)


V4: tuple[Address, Address] = (
    (socket.AF_INET, ("10.92.0.1", 61_000)),
    (socket.AF_INET, ("10.92.4.2", 443)),
)
V6: tuple[Address, Address] = (
    (socket.AF_INET6, ("fd92::1", 61_000)),
    (socket.AF_INET6, ("fd92:4::2", 443, 0, 0)),
)
NUMBERS = st.integers(0, 4095)


def wires() -> list[Wire]:
    made: list[Wire] = [IcmpWire(family, 61_000) for family in (socket.AF_INET, socket.AF_INET6)]
    for ends in (V4, V6):
        made += [UdpWire(*ends), TcpWire(*ends)]
    return made


@given(number=NUMBERS, other=NUMBERS, length=st.integers(8, 40))
def test_eight_bytes_of_a_quote_tell_the_probe_and_whose_it_is(number: int, other: int, length: int) -> None:
    for mine, foreign in zip(wires(), wires(), strict=True):
        packet = mine.packet(number)
        assert mine.quoted(packet[:length]) == number
        assert mine.quoted(packet[:7]) is None
        if not isinstance(mine, TcpWire):
            assert foreign.quoted(packet) is None, "of another measurement by the same flow"
        assert len(packet) == len(mine.packet(other)), "probes do not differ in length"
    assert PlainUdpWire().quoted(PlainUdpWire().packet(number)) is None


@given(number=NUMBERS, other=NUMBERS)
def test_what_identifies_a_flow_is_the_same_in_every_probe(number: int, other: int) -> None:
    for wire in wires():
        one, two = wire.packet(number), wire.packet(other)
        if isinstance(wire, IcmpWire):
            assert one[:6] == two[:6], "type, code, checksum, identifier"
        else:
            assert one[:4] == two[:4], "both ports"


@given(number=NUMBERS)
def test_checksums_are_right(number: int) -> None:
    assert checksum(IcmpWire(socket.AF_INET, 61_000).packet(number)) == 0
    for (source, destination), family in ((V4, socket.AF_INET), (V6, socket.AF_INET6)):
        ends = b"".join(socket.inet_pton(family, end[1][0]) for end in (source, destination))
        for wire in (UdpWire(source, destination), TcpWire(source, destination)):
            packet = wire.packet(number)
            assert checksum(ends + struct.pack("!HH", wire.protocol, len(packet)) + packet) == 0


@given(number=NUMBERS, flags=st.sampled_from([0x12, 0x14]))
def test_a_server_acknowledges_the_number_of_the_probe_it_answers(number: int, flags: int) -> None:
    wire = TcpWire(*V4)
    sequence = int.from_bytes(wire.packet(number)[4:8], "big")
    answer = struct.pack("!HHIIBBHHH", 443, 61_000, 7, (sequence + 1) % 2**32, 0x50, flags, 0, 0, 0)
    assert wire.answered(answer) == number
    assert wire.answered(answer[:19]) is None
    echo = IcmpWire(socket.AF_INET, 61_000)
    assert echo.answered(b"\0" + echo.packet(number)[1:]) == number
    assert echo.answered(b"\0" + echo.packet(number)[1:12]) is None, "a reply is never cut"


@given(data=st.binary(max_size=80))
def test_bytes_of_strangers_are_nobodys_answer(data: bytes) -> None:
    for wire in [*wires(), PlainUdpWire()]:
        assert wire.answered(data) is None or len(data) >= 18
        assert wire.quoted(data) is None or len(data) >= 8
    told = read_refusal(data)
    assert told is None or (len(data) >= 24 and data[4] in (2, 3))


HOPS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=2, unique=True).map(tuple), max_size=8).map(tuple)


@given(before=HOPS, now=HOPS)
def test_a_path_differs_neither_from_itself_nor_from_what_is_remembered_of_it(before: Any, now: Any) -> None:
    assert not differs(before, before)
    assert not differs(merged(before, now), now)
    assert path_id(before) == path_id(tuple(before)) < 2**48
    assert set(loops(before)) <= {address for hop in before for address in hop}


def test_a_hop_silent_for_once_is_no_change_but_another_behind_the_silence_is() -> None:
    a, b, c, silent = ("a",), ("b",), ("c",), ()
    seen = [changed_since("flow", path) for path in ((a, b), (a, silent), (a, b), (a,), (a, c), (a, c))]
    assert seen == [None, False, False, False, True, False]


def test_a_repeat_next_to_itself_is_no_circle() -> None:
    assert loops((("a",), ("a",), ("b",))) == []
    assert loops((("a",), ("b",), ("a",), ("b",))) == ["a", "b"]
    assert loops((("a",), (), ("a",))) == ["a"]


def test_a_middle_hop_that_never_answers_has_no_figures_and_the_last_ones_count() -> None:
    hops = {1: Hop(3, [0.001, 0.003], ["a"]), 2: Hop(3), 3: Hop(3, [0.2, 0.1, 0.3], ["c"]), 4: Hop(2, [0.4], ["c"])}
    metrics = summary(hops, 3, 3)
    assert {name for name in metrics if "[" in name} == {
        "rtt_seconds[1]", "loss_ratio[1]", "rtt_seconds[3]", "loss_ratio[3]",
    }  # fmt: skip
    assert metrics["first_hop_rtt_seconds"] == pytest.approx(0.002)
    assert metrics["first_hop_loss_ratio"] == pytest.approx(1 / 3)
    assert (metrics["destination_rtt_seconds"], metrics["hops"]) == (0.2, 3)

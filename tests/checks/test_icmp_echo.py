"""icmp_echo: its arithmetic, real echoes on loopback, and silence, refusals and missing rights in a namespace."""

from __future__ import annotations

import json
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks import registry
from checks.icmp_echo import IcmpEcho, summary
from checks.icmp_socket import checksum
from checks.packets import percentile
from checks.run import run
from checks.strict import ConfigError

if TYPE_CHECKING:
    from conftest import Namespace

    from checks.result import Result


def can_ping() -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP).close()
        except PermissionError:
            continue
        return True
    return False


needs_icmp = pytest.mark.skipif(not can_ping(), reason="this user may not send ICMP (net.ipv4.ping_group_range)")


async def ping(target: str, **parameters: Any) -> Result:
    return await run(IcmpEcho(**{"interval_seconds": 0.01, **parameters}), target, site="s", node="n")


def inside(namespace: Namespace, target: str, *words: str) -> dict[str, Any]:
    done = namespace.nhip("check", "run", "icmp_echo", "--target", target, "--format", "json", *words)
    return {**json.loads(done.stdout), "exit": done.returncode}


QUICK = ("--set", "count=2", "--set", "interval_seconds=0.01", "--set", "packet_timeout_seconds=0.3")
PATIENT = ("--set", "count=2", "--set", "packet_timeout_seconds=9", "--set", "timeout_seconds=20")


@needs_icmp
@pytest.mark.parametrize("target", ["127.0.0.1", "::1", "[::1]", "localhost"])
async def test_this_machine_answers_itself(target: str) -> None:
    result = await ping(target, count=4)
    assert (result.reason, result.error) == (None, None)
    metrics = result.metrics
    assert (metrics["packets_sent"], metrics["packets_received"], metrics["loss_ratio"]) == (4, 4, 0)
    order = [metrics[f"rtt_{name}_seconds"] for name in ("min", "median", "p95", "max")]
    assert order == sorted(order)
    assert 0 < metrics["rtt_min_seconds"] <= metrics["rtt_mean_seconds"] <= metrics["rtt_max_seconds"] < 1
    assert set(metrics) == set(IcmpEcho.metrics)


@needs_icmp
@pytest.mark.parametrize("payload_bytes", [8, 9, 1473, 20_000])
async def test_packets_of_every_size_come_back(payload_bytes: int) -> None:
    assert (await ping("127.0.0.1", payload_bytes=payload_bytes, count=2)).metrics["loss_ratio"] == 0


@needs_icmp
async def test_two_trains_at_once_do_not_take_each_others_packets() -> None:
    import asyncio  # noqa: PLC0415  (only this story needs it)

    results = await asyncio.gather(*(ping("127.0.0.1", count=10) for _ in range(8)))
    assert all(result.metrics["packets_received"] == 10 for result in results)


@needs_icmp
async def test_the_source_is_chosen_or_refused() -> None:
    assert (await ping("127.0.0.1", count=1, source="127.0.0.2")).metrics["loss_ratio"] == 0
    foreign = await ping("127.0.0.1", count=1, source="192.0.2.77")
    assert foreign.error == "cannot send from source 192.0.2.77: Cannot assign requested address"
    other = await ping("127.0.0.1", count=1, source="::1")
    assert other.error is not None
    assert other.error.startswith("cannot send from source ::1: ")


@needs_icmp
async def test_a_broadcast_address_is_refused() -> None:
    words = "this machine refuses to send there: a broadcast address, or a prohibited route"
    assert (await ping("255.255.255.255")).error == words


async def test_an_address_of_the_other_version_is_our_error() -> None:
    result = await ping("127.0.0.1", ip_version=6)
    assert result.error == "no packet was sent: 127.0.0.1 is not an IPv6 address"


@pytest.mark.parametrize("target", ["", "127.0.0.1:80", "http://a/", "a b"])
async def test_a_target_that_is_no_host_is_our_error(target: str) -> None:
    result = await ping(target)
    assert result.error == f"target {target!r} is not a host; write a name or an address, without port or path"


@pytest.mark.parametrize("target", ["192.0.2.9", "2001:db8::9"])
def test_silence_is_loss_without_any_round_trip(namespace: Namespace, target: str) -> None:
    result = inside(namespace, target, *QUICK)
    expected = {"loss_ratio": 1, "packets_sent": 2, "packets_received": 0}
    none = dict.fromkeys(("packets_late", "packets_duplicate", "packets_reordered", "packets_corrupted"), 0)
    assert result["metrics"] == {**expected, **none}
    assert result["reason"] == "none of 2 packets was answered within 0.3 s"
    assert (result["state"], result["exit"]) == ("CRITICAL", 2)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("192.0.2.50", "host unreachable, says 192.0.2.1"),
        ("2001:db8::50", "host unreachable, says 2001:db8::1"),
        ("198.51.100.1", "network is unreachable (said by this machine)"),
    ],
)
def test_a_refusal_gives_its_reason_and_who_said_it(namespace: Namespace, target: str, reason: str) -> None:
    result = inside(namespace, target, *PATIENT)
    assert result["reason"] == reason
    assert result["metrics"]["loss_ratio"] == 1
    assert result["duration_seconds"] < 9, "a refused packet is not waited for"


def test_a_name_that_nobody_resolves_is_our_error_and_no_loss(namespace: Namespace) -> None:
    result = inside(namespace, "portal.invalid", *QUICK, "--set", "timeout_seconds=2")
    assert result["error"].startswith("no packet was sent: ")
    assert (result["metrics"], result["exit"]) == ({}, 3)


def test_a_prohibited_route_is_our_error(namespace: Namespace) -> None:
    namespace.run("ip", "route", "add", "prohibit", "198.51.100.0/24")
    result = inside(namespace, "198.51.100.1", *QUICK)
    assert result["error"] == "this machine refuses to send there: a broadcast address, or a prohibited route"


def test_a_firewall_of_our_own_is_our_error(namespace: Namespace) -> None:
    if shutil.which("nft") is None:
        pytest.skip("nft is not installed")
    namespace.run("nft", "add table ip t; add chain ip t o { type filter hook output priority 0; policy drop; }")
    result = inside(namespace, "127.0.0.1", *QUICK)
    assert result["error"] == "this machine's own firewall does not let ICMP echo out"


def test_without_rights_the_remedy_is_told_and_with_the_group_alone_it_works(namespace: Namespace) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    dropped = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    command = (namespace.python, "nhip.py", "check", "run", "icmp_echo", "--target", "127.0.0.1", *QUICK)
    namespace.run("sysctl", "-w", "net.ipv4.ping_group_range=1 0")
    refused = namespace.run(*dropped, *command, check=False)
    assert refused.returncode == 3
    assert f"group {os.getegid()} is not in net.ipv4.ping_group_range (1-0)" in refused.stdout
    assert "sysctl -w net.ipv4.ping_group_range='0 2147483647'" in refused.stdout
    assert "AmbientCapabilities=CAP_NET_RAW" in refused.stdout
    namespace.run("sysctl", "-w", "net.ipv4.ping_group_range=0 2147483647")
    for target in ("127.0.0.1", "::1"):
        command = (namespace.python, "nhip.py", "check", "run", "icmp_echo", "--target", target, *QUICK)
        assert namespace.run(*dropped, *command, check=False).returncode == 0
    silent = (namespace.python, "nhip.py", "check", "run", "icmp_echo", "--target", "192.0.2.50", *PATIENT)
    assert "host unreachable, says 192.0.2.1" in namespace.run(*dropped, *silent, check=False).stdout


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"count": 0}, "$.count: expected `int` >= 1"),
        ({"interval_seconds": 0}, "$.interval_seconds: expected `float` >= 0.001"),
        ({"payload_bytes": 7}, "$.payload_bytes: expected `int` >= 8"),
        ({"payload_bytes": 65_001}, "$.payload_bytes: expected `int` <= 65000"),
        ({"packet_timeout_seconds": 0}, "$.packet_timeout_seconds: expected `float` > 0.0"),
        ({"ip_version": 5}, "$.ip_version: 5 is not one of: 4, 6"),
        ({"source": 1}, "$.source: expected `str`, got `int`"),
        ({"size": 1}, "$.size: is unknown; there are: count, interval_seconds"),
        (
            {"count": 100},
            "(10) must be at least 21.05: (count - 1) x interval_seconds + packet_timeout_seconds + 0.25",
        ),
    ],
)
def test_a_bad_parameter_says_what_would_be_right(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("icmp_echo", parameters)
    assert message in str(caught.value)


def test_a_train_with_a_gap_counts_variation_between_neighbours_only() -> None:
    metrics = summary([0.010, 0.014, None, 0.030, 0.020])
    assert metrics["loss_ratio"] == pytest.approx(0.2)
    assert metrics["rtt_median_seconds"] == pytest.approx(0.017), "the mean of the middle two"
    assert metrics["ipdv_mean_seconds"] == pytest.approx((0.004 + 0.010) / 2)
    assert metrics["ipdv_p95_seconds"] == pytest.approx(0.010)
    assert (metrics["packets_sent"], metrics["packets_received"]) == (5, 4)


def test_one_answer_has_no_variation_and_none_has_no_round_trip() -> None:
    assert "ipdv_mean_seconds" not in summary([0.01, None])
    assert summary([None, None]) == {"loss_ratio": 1, "packets_sent": 2, "packets_received": 0}


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200), st.integers(1, 100))
def test_the_nearest_rank_is_the_smallest_value_that_enough_others_do_not_exceed(
    values: list[float], percent: int
) -> None:
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_the_checksum_is_that_of_the_rfcs_example() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF ^ 0xDDF2
    assert checksum(b"\x01") == 0xFEFF

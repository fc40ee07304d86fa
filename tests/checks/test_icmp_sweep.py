"""icmp_sweep: many hosts on loopback, and among hosts that are silent or have no route, in a namespace."""

from __future__ import annotations

import json
import os
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest

from checks import registry
from checks.check import CheckError
from checks.icmp_burst import BATCH, Burst
from checks.icmp_sweep import IcmpSweep, read_hosts
from checks.run import run
from checks.strict import ConfigError
from checks.timestamps import BOTH

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Namespace

    from checks.result import Result

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to send ICMP wherever the kernel refuses others")


async def sweep(target: str, **parameters: Any) -> Result:
    return await run(IcmpSweep(**parameters), target, site="s", node="n")


def inside(namespace: Namespace, target: str, *words: str) -> dict[str, Any]:
    done = namespace.nhip("check", "run", "icmp_sweep", "--target", target, "--format", "json", *words)
    return {**json.loads(done.stdout), "exit": done.returncode}


@needs_root
async def test_more_hosts_than_a_batch_all_answer_and_each_has_its_own_round_trip() -> None:
    result = await sweep("127.1.0.0/24", count=2)
    metrics = result.metrics
    assert (metrics["hosts"], metrics["hosts_answering"]) == (254, 254)
    assert metrics["timestamp_source"] == BOTH
    assert BATCH < 254
    for host in range(1, 255):
        assert metrics[f"loss_ratio[127.1.0.{host}]"] == 0
        assert metrics[f"rtt_median_seconds[127.1.0.{host}]"] > 0


@needs_root
async def test_a_file_names_its_hosts_in_both_versions_of_ip(tmp_path: Path) -> None:
    file = tmp_path / "gateways.txt"
    file.write_text("# the gateways\n127.0.0.1  31120\n\n::1  31117  # Cái Khế\n127.0.0.9\n", encoding="utf-8")
    metrics = (await sweep(str(file), count=1)).metrics
    assert {name for name in metrics if name.startswith("loss_ratio")} == {
        "loss_ratio[31120]",
        "loss_ratio[31117]",
        "loss_ratio[127.0.0.9]",
    }
    assert metrics["hosts_answering"] == 3


def test_a_host_without_a_route_takes_nobody_elses_stamp(namespace: Namespace) -> None:
    hosts = "127.0.0.1,198.51.100.1,127.0.0.2,198.51.100.2,192.0.2.9,127.0.0.3"
    slow = ("--set", "count=2", "--set", "packets_per_second=10", "--set", "packet_timeout_seconds=0.3")
    result = inside(namespace, hosts, *slow)
    metrics = result["metrics"]
    assert metrics["hosts_answering"] == 3
    for host in ("198.51.100.1", "198.51.100.2", "192.0.2.9"):
        assert metrics[f"loss_ratio[{host}]"] == 1
        assert f"rtt_median_seconds[{host}]" not in metrics
    for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        assert metrics[f"loss_ratio[{host}]"] == 0
        assert 0 < metrics[f"rtt_median_seconds[{host}]"] < 0.1, "packets are 0.1 s apart: a wrong stamp would show"


def test_when_nobody_answers_that_is_a_measurement(namespace: Namespace) -> None:
    result = inside(namespace, "192.0.2.9,198.51.100.1", "--set", "count=1", "--set", "packet_timeout_seconds=0.2")
    assert result["reason"] == "none of 2 hosts answered"
    assert result["metrics"]["hosts_answering"] == 0
    assert (result["state"], result["exit"]) == ("CRITICAL", 2)


def test_without_privileges_the_group_is_enough(namespace: Namespace) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    namespace.run("sysctl", "-w", "net.ipv4.ping_group_range=0 2147483647")
    dropped = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
    command = (
        namespace.python,
        "nhip.py",
        "check",
        "run",
        "icmp_sweep",
        "--target",
        "127.0.0.0/28,",
        "--format",
        "json",
    )
    told = json.loads(namespace.run(*dropped, *command, check=False).stdout)
    assert told["error"] == "target '127.0.0.0/28,' is neither a file nor a network; write 10.92.0.0/24"
    command = (
        namespace.python,
        "nhip.py",
        "check",
        "run",
        "icmp_sweep",
        "--target",
        "127.0.0.0/28",
        "--format",
        "json",
    )
    assert json.loads(namespace.run(*dropped, *command, check=False).stdout)["metrics"]["hosts_answering"] == 14
    both = (namespace.python, "nhip.py", "check", "run", "icmp_sweep", "--target", "127.0.0.1,::1", "--format", "json")
    assert json.loads(namespace.run(*dropped, *both, check=False).stdout)["metrics"]["hosts_answering"] == 2


@needs_root
async def test_rounds_do_not_take_each_others_answers() -> None:
    burst = Burst([f"127.2.0.{host}" for host in range(1, 40)], socket.AF_INET, 56)
    found = await burst.run(5, 100_000, 1.0)
    burst.close()
    assert [len(trips) for trips in found.round_trips] == [5] * 39
    assert all(trip is not None and trip > 0 for trips in found.round_trips for trip in trips)


async def test_a_sweep_that_cannot_end_in_time_says_what_to_change() -> None:
    result = await sweep("10.0.0.0/16", packets_per_second=100, count=1)
    assert result.error == "65534 hosts take up to 656.8 s: raise timeout_seconds or packets_per_second"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("10.0.0.1,portal", "target: 'portal' is not an address; write 10.92.0.1, and a name after it"),
        ("", "target names 0 hosts; there must be 1 to 65536"),
        ("10.0.0.0/8", "target 10.0.0.0/8 has 16777216 addresses; 65536 is the most"),
        ("10.0.0.1/8", "target '10.0.0.1/8' is neither a file nor a network; write 10.92.0.0/24"),
    ],
)
def test_a_target_that_is_no_list_of_hosts_says_what_would_be_one(target: str, words: str) -> None:
    with pytest.raises(CheckError) as caught:
        read_hosts(target)
    assert str(caught.value) == words


def test_a_bad_line_of_the_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "gateways.txt"
    file.write_text("10.0.0.1\n10.0.0.300 a\n", encoding="utf-8")
    with pytest.raises(CheckError) as caught:
        read_hosts(str(file))
    assert str(caught.value) == f"{file}, line 2: '10.0.0.300' is not an address; write 10.92.0.1, and a name after it"


def test_a_bad_parameter_says_what_would_be_right() -> None:
    with pytest.raises(ConfigError) as caught:
        registry.make("icmp_sweep", {"count": 0, "packets_per_second": 0, "payload_bytes": 8})
    assert caught.value.lines() == [
        "$.count: expected `int` >= 1",
        "$.packets_per_second: expected `float` >= 1.0",
        "$.payload_bytes: expected `int` >= 16",
    ]

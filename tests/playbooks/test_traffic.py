"""Classes of traffic: what tc is told, and on a real line that bulk takes nothing from the one-stop system."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.checks.lab import ROUTER, Lab, made_lab
from tests.playbooks.role_files import ROLES, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

traffic = load("gateway/files/traffic.py")
SHARES = {"meeting": 30, "one_stop": 30, "other": 30, "bulk": 10}
CONFIG = traffic.Config(
    SHARES, {"meeting": [46], "bulk": [8]}, {"one_stop": ["10.92.0.20"], "bulk": ["10.92.0.0/28"]}, ()
)
FLOOD = """
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for _ in range(100):
        try:
            sock.sendto(bytes(1200), (sys.argv[1], 9))
        except OSError:
            pass
"""


def test_shares_are_certain_and_the_rest_of_the_line_may_be_borrowed_in_order() -> None:
    lines = [line for line in traffic.shaper("wan", 20_000_000, "dst", CONFIG, "fq_codel") if "parent 1:1 " in line]
    assert [line.split("htb ")[1].split(" quantum")[0] for line in lines] == [
        "rate 6000000bit ceil 20000000bit prio 0",
        "rate 6000000bit ceil 20000000bit prio 1",
        "rate 6000000bit ceil 20000000bit prio 2",
        "rate 2000000bit ceil 20000000bit prio 3",
    ]


def test_an_address_counts_for_more_than_a_code_point() -> None:
    assert list(traffic.filters("wan", "dst", CONFIG)) == [
        "filter add dev wan parent 1: protocol ip prio 1 u32 match ip dst 10.92.0.20 flowid 1:20",
        "filter add dev wan parent 1: protocol ip prio 1 u32 match ip dst 10.92.0.0/28 flowid 1:40",
        "filter add dev wan parent 1: protocol ip prio 2 u32 match ip dsfield 0xb8 0xfc flowid 1:10",
        "filter add dev wan parent 1: protocol ip prio 2 u32 match ip dsfield 0x20 0xfc flowid 1:40",
    ]


@pytest.mark.parametrize(
    ("kind", "rate", "words"),
    [
        ("fq_codel", 200_000_000, "fq_codel target 5000us"),
        ("fq_codel", 1_000_000, "fq_codel target 18168us"),  # one frame alone takes 12 ms there
        ("sfq", 20_000_000, "sfq perturb 10 limit 165"),
        ("pfifo", 20_000_000, "pfifo limit 165"),
        ("pfifo", 100_000, "pfifo limit 10"),
    ],
)
def test_a_leaf_holds_a_tenth_of_a_second_or_is_fair_by_itself(kind: str, rate: int, words: str) -> None:
    assert traffic.leaf(kind, rate) == words


def test_what_tc_prints_is_read_by_class_and_the_trunk_is_left_out() -> None:
    text = (
        "class htb 1:1 root rate 19Mbit ceil 19Mbit burst 1597b cburst 1597b \n"
        " Sent 900 bytes 9 pkt (dropped 0, overlimits 4 requeues 0) \n"
        "class htb 1:20 parent 1:1 leaf 20: prio 1 rate 5700Kbit ceil 19Mbit burst 1599b cburst 1597b \n"
        " Sent 35280 bytes 360 pkt (dropped 2, overlimits 0 requeues 0) \n"
    )
    assert traffic.counters(text) == {"one_stop": {"bytes": 35280, "packets": 360, "drops": 2}}
    assert traffic.counters("") == {}


class Line:
    """A counter, its gateway, and a data centre with the one-stop system (10.92.1.20) and a mirror (10.92.1.2)."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        """Wire them and sort the gateway's traffic on a line of 2 Mbit/s."""
        self.lab = lab
        self.counter, self.gateway, self.data_centre = lab.node(), lab.node(*ROUTER), lab.node()
        lab.link(self.counter, self.gateway, 0, ("eth0", "lan"))
        lab.link(self.gateway, self.data_centre, 1, ("wan", "eth0"))
        self.data_centre.ip("address add 10.92.1.20/24 dev eth0", "route add default via 10.92.1.1")
        self.counter.ip("route add default via 10.92.0.2")
        self.config = folder / "traffic.json"
        line = {"interface": "wan", "upload_bits_per_second": 2_000_000, "download_bits_per_second": 2_000_000}
        addresses = {"one_stop": ["10.92.1.20"], "bulk": ["10.92.1.2"]}
        self.config.write_text(json.dumps({"shares": SHARES, "dscp": {}, "addresses": addresses, "uplinks": [line]}))
        assert "2 Mbit/s up, 2 Mbit/s down, each class a " in self.run("apply", "--lan", "lan")

    def run(self, *words: str) -> str:
        """Run the command on the gateway."""
        script = str(ROLES / "gateway/files/traffic.py")
        return self.gateway.run(sys.executable, script, *words, "--config", str(self.config)).stdout

    def counted(self, way: str, name: str) -> tuple[int, int]:
        """Return packets and drops of a class."""
        row = next(line.split() for line in self.run("status").splitlines() if line.split()[1:3] == [way, name])
        return int(row[-2].replace(",", "")), int(row[-1].replace(",", ""))

    def wait_for_drops(self, way: str, name: str) -> None:
        """Wait until more came into a class than the line carries."""
        deadline = time.monotonic() + 60
        while self.counted(way, name)[1] == 0:
            assert time.monotonic() < deadline, f"nothing was dropped from {name}: {self.run('status')}"


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with made_lab() as lab:
        yield Line(lab, tmp_path)


@pytest.mark.parametrize("way", ["upload", "download"])
def test_beside_a_flood_of_bulk_the_one_stop_system_loses_nothing(line: Line, way: str) -> None:
    if way == "upload":
        line.lab.started(line.counter, sys.executable, "-c", FLOOD, "10.92.1.2")
    else:
        line.lab.started(line.data_centre, sys.executable, "-c", FLOOD, "10.92.0.1")
    line.wait_for_drops(way, "bulk")
    line.counter.run("ping", "-c", "30", "-i", "0.05", "-W", "10", "10.92.1.20")
    packets, drops = line.counted(way, "one_stop")
    assert (packets >= 30, drops) == (True, 0)


def test_sorting_anew_is_no_trouble_and_clearing_leaves_the_line_as_it_was(line: Line) -> None:
    line.run("apply")
    line.run("clear")
    shown = line.gateway.run("tc", "qdisc", "show", "dev", "wan").stdout
    assert ("htb" in shown, "ingress" in shown) == (False, False)
    assert "down0" not in line.gateway.run("ip", "link").stdout
    assert line.counter.run("ping", "-c", "1", "-W", "10", "10.92.1.20").returncode == 0

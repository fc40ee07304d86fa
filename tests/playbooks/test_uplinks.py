"""Fail-over of a gateway: when an uplink counts as down, which one carries, and the service on real interfaces."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.checks.lab import ROUTER, Lab, Node, made_lab
from tests.playbooks.role_files import ROLES, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

uplinks = load("gateway/files/uplinks.py")
RULE = uplinks.Rule(fall_lost=3, fall_of=5, rise_answered=9, rise_of=10)
FRESH = uplinks.State((uplinks.Line("wan"), uplinks.Line("wan2")), "wan")


def after(state: Any, first: Sequence[bool | None], second: Sequence[bool | None] | None = None) -> Any:
    """Let rounds pass; the second uplink answers all of them unless it is said otherwise."""
    for one, other in zip(first, second if second is not None else [True] * len(first), strict=True):
        state = uplinks.step(state, {"wan": one, "wan2": other}, RULE)
    return state


def test_a_line_that_loses_a_probe_now_and_then_carries_on() -> None:
    assert after(FRESH, [True, False, True, True, False] * 20).switches == 0


def test_three_lost_of_five_move_the_route_and_the_third_is_enough() -> None:
    assert after(FRESH, [False, False]).active == "wan"
    assert after(FRESH, [False, False, False]).active == "wan2"


def test_a_cable_that_is_out_needs_no_second_opinion() -> None:
    assert after(FRESH, [None]).active == "wan2"


def test_the_route_comes_back_only_after_a_long_good_spell() -> None:
    down = after(FRESH, [False] * 3)
    assert after(down, [True] * 9).active == "wan2"
    assert after(down, [True] * 10).active == "wan"
    assert after(down, [True, True, False, *[True] * 7]).active == "wan", "one lost of ten is a good spell too"


def test_a_line_that_comes_and_goes_moves_the_route_once() -> None:
    flapping = after(FRESH, ([False] * 3 + [True] * 5) * 20)
    assert (flapping.active, flapping.switches) == ("wan2", 1)


def test_when_nothing_works_the_route_stays_and_it_is_said_once() -> None:
    before = after(FRESH, [False] * 2, [False] * 2)
    dead = after(before, [False], [False])
    assert (dead.active, dead.switches) == ("wan", 0)
    assert "no uplink reaches the data centre: the default route stays on wan" in uplinks.changes(before, dead)
    assert uplinks.changes(dead, after(dead, [False], [False])) == []


def test_each_change_is_one_sentence() -> None:
    before = after(FRESH, [False] * 2)
    assert uplinks.changes(before, after(before, [False])) == [
        "wan reaches the data centre no more",
        "the default route moves from wan to wan2",
    ]


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.sampled_from([True, False, None])), max_size=120))
def test_the_route_is_always_on_the_first_uplink_that_is_up_and_memory_is_bounded(
    rounds: list[tuple[bool | None, bool | None]],
) -> None:
    state = FRESH
    for one, other in rounds:
        before, state = state, uplinks.step(state, {"wan": one, "wan2": other}, RULE)
        up = [line.interface for line in state.lines if line.up]
        assert state.active == (up[0] if up else before.active)
        assert state.switches - before.switches == (state.active != before.active)
        assert all(len(line.rounds) <= 10 for line in state.lines)


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_an_echo_request_has_the_checksum_that_makes_the_whole_zero(identifier: int, sequence: int) -> None:
    assert uplinks.checksum(uplinks.echo_request(identifier, sequence)) == 0


@given(st.binary(max_size=80))
def test_whatever_a_stranger_sends_is_no_answer_and_no_trouble(packet: bytes) -> None:
    header = (packet[0] & 0x0F) * 4 if packet else 0
    mine = packet[header + 4 : header + 8] == b"\x12\x34\x00\x07" and packet[header : header + 1] == b"\0"
    assert uplinks.is_reply(packet, 0x1234, 7) == (mine and len(packet) >= header + 8)


def test_a_restart_goes_on_from_the_route_that_is_there() -> None:
    lines = (uplinks.Uplink("wan", "10.92.240.6", "10.92.240.5"), uplinks.Uplink("wan2", "10.92.248.6", "10.92.248.5"))
    config = uplinks.Config(("10.92.0.10",), 1, 0.8, 50, RULE, lines)
    number = int.from_bytes(bytes([10, 92, 248, 5]), sys.byteorder)
    table = f"Iface\tDestination\tGateway\nwan2\t00000000\t{number:08X}\t0003\t0\t0\t50\t00000000\t0\t0\t0\n"
    assert uplinks.resumed(config, table).active == "wan2"
    assert [line.up for line in uplinks.resumed(config, table).lines] == [False, True]
    assert uplinks.resumed(config, table.replace("\t50\t", "\t200\t")).active == "wan"


class Site:
    """A gateway with two lines to a data centre, 10.92.0.10, and the service that chooses between them."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        """Wire it and start the service, quicker than in production."""
        self.gateway, self.data_centre = lab.node("net.ipv4.conf.all.rp_filter=0"), lab.node()
        self.carriers = [lab.node(*ROUTER) for _ in range(2)]
        self.data_centre.ip("address add 10.92.0.10/32 dev lo")
        for number, (carrier, name) in enumerate(zip(self.carriers, ("wan", "wan2"), strict=True)):
            lab.link(self.gateway, carrier, 10 + number, (name, "line"))
            lab.link(carrier, self.data_centre, 20 + number, ("core", f"core{number}"))
            carrier.ip(f"route add 10.92.0.10 via 10.92.{20 + number}.2")
            self.data_centre.ip(f"route add 10.92.{10 + number}.0/24 via 10.92.{20 + number}.1")
            self.gateway.ip(f"route add default via 10.92.{10 + number}.2 dev {name} metric {100 * (number + 1)}")
        self.config, self.state = folder / "uplinks.json", folder / "state.json"
        lines = [
            {"interface": name, "address": f"10.92.1{number}.1", "via": f"10.92.1{number}.2"}
            for number, name in enumerate(("wan", "wan2"))
        ]
        rule = {"fall_lost": 3, "fall_of": 5, "rise_answered": 9, "rise_of": 10}
        self.config.write_text(
            json.dumps(
                {
                    "probes": ["10.92.0.10"],
                    "interval_seconds": 0.05,
                    "timeout_seconds": 1,
                    "metric": 50,
                    "rule": rule,
                    "uplinks": lines,
                },
            ),
        )
        self.options = ("--config", str(self.config), "--state", str(self.state))
        self.service = lab.started(
            self.gateway, sys.executable, str(ROLES / "gateway/files/uplinks.py"), "run", *self.options
        )

    def wait(self, wanted: Callable[[], bool], what: str) -> None:
        """Wait until something is so."""
        deadline = time.monotonic() + 60
        while not wanted():
            assert self.service.poll() is None, "the service ended"
            assert time.monotonic() < deadline, f"did not come: {what}"
            time.sleep(0.05)

    def is_routed(self, interface: str) -> bool:
        """Tell whether packets to the data centre leave by an interface."""
        return f"dev {interface} " in self.gateway.run("ip", "route", "get", "10.92.0.10").stdout

    def status(self) -> tuple[int, str]:
        """Ask the service's own plug-in."""
        script = str(ROLES / "gateway/files/uplinks.py")
        done = self.gateway.run(sys.executable, script, "status", *self.options, check=False)
        return done.returncode, done.stdout

    def is_status(self, code: int, words: str) -> bool:
        """Tell whether the plug-in says that now."""
        said = self.status()
        return said[0] == code and words in said[1]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with made_lab() as lab:
        yield Site(lab, tmp_path)


def drop_all(node: Node) -> None:
    """Lose every packet without a word, with the cable in."""
    node.nft("forward", "drop")
    node.nft("input", "drop")


def test_a_silent_cut_moves_the_route_and_a_healed_line_gets_it_back(site: Site) -> None:
    site.wait(lambda: site.is_status(0, "UPLINKS OK: wan carries the default route"), "a first round")
    assert "default via 10.92.10.2" in site.gateway.run("ip", "route", "show", "default", "metric", "50").stdout
    drop_all(site.carriers[0])
    site.wait(lambda: site.is_routed("wan2"), "fail-over")
    site.wait(lambda: site.is_status(1, "active=1 switches=1c wan=0 wan2=1"), "the plug-in to warn")
    assert site.gateway.run("ping", "-c1", "-W5", "10.92.0.10").returncode == 0
    site.carriers[0].run("nft", "delete", "table", "inet", "t")
    site.wait(lambda: site.is_routed("wan"), "fail-back")
    site.wait(lambda: site.is_status(0, "switches=2c"), "the plug-in to be content")


def test_when_both_lines_are_cut_the_plug_in_is_critical_and_the_first_to_heal_carries(site: Site) -> None:
    for carrier in site.carriers:
        drop_all(carrier)
    site.wait(lambda: site.is_status(2, "wan is down, wan2 is down"), "both down")
    site.carriers[1].run("nft", "delete", "table", "inet", "t")
    site.wait(lambda: site.is_routed("wan2"), "the healed line to carry")


def test_a_plug_in_without_a_service_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "uplinks.json"
    config.write_text(
        json.dumps(
            {"probes": [], "interval_seconds": 1, "timeout_seconds": 1, "metric": 50, "uplinks": [],
             "rule": {"fall_lost": 3, "fall_of": 5, "rise_answered": 9, "rise_of": 10}},
        ),
    )  # fmt: skip
    assert uplinks.main(["status", "--config", str(config), "--state", str(tmp_path / "state.json")]) == 3
    assert "is nhip-uplinks.service running?" in capsys.readouterr().out

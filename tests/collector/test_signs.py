"""What the evidence says is wrong, in the words that people read."""

from __future__ import annotations

import pytest

from collector.incident import Evidence, Place
from collector.words import cause

NODE, PATH, SERVICE = Place("node", "1", "gw"), Place("path", "1", "10.0.0.1"), Place("service", "", "one-stop")


def said(place: Place, *metrics: str, why: str = "") -> str:
    shown = [Evidence(node="gw", check="c", target="t", metric=metric, level="red", at=1) for metric in metrics]
    return cause(place, why, evidence=shown, lost=2)["en"]


@pytest.mark.parametrize(
    ("place", "metrics", "words"),
    [
        (NODE, ["on_battery"], "The mains are out: the UPS runs on its battery"),
        (NODE, ["rogue_dhcp_servers", "dhcp_servers"], "A stranger's DHCP server is on the LAN"),
        (NODE, ["disk_used_ratio[/]"], "The disk of node gw is full, or soon will be"),
        (PATH, ["rtt_median_seconds", "loss_ratio"], "The path to 10.0.0.1 loses packets"),
        (PATH, ["mos", "rtt_median_seconds"], "The path to 10.0.0.1 has become slow"),
        (PATH, ["black_hole"], "Large packets vanish on the path to 10.0.0.1"),
        (SERVICE, ["certificate_expiry_days"], "The certificate of service one-stop has run out, or soon will"),
    ],
)
def test_evidence_of_one_kind_says_what_is_wrong(place: Place, metrics: list[str], words: str) -> None:
    assert said(place, *metrics) == words


def test_evidence_of_several_kinds_leaves_it_at_the_place() -> None:
    assert said(NODE, "on_battery", "disk_used_ratio") == "Node gw is in trouble"
    assert said(SERVICE, "certificate_expiry_days", "success") == "Service one-stop does not work: 2 sites see it"
    assert said(PATH) == "The path to 10.0.0.1 is impaired"


def test_a_cause_that_is_known_goes_before_what_the_evidence_shows() -> None:
    assert said(PATH, "loss_ratio", why="clock").startswith("Its test packets are not accepted")

"""From findings to one verdict: every row of the table in docs/diagnosis.md, and nothing that has no row."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.diagnose.finding import Finding, Probe, State, of_result
from agents.diagnose.verdict import _WORDS, RULES, Where, verdict_of
from checks.result import Result

PAGE = Path(__file__).parents[2] / "docs" / "diagnosis.md"


def findings(text: str) -> list[Finding]:
    """Return findings written as `gateway lost, neighbour well, service:mail lost`."""
    found = []
    for part in text.split(","):
        probe, _, state = part.strip().rpartition(" ")
        name, _, about = probe.partition(":")
        found.append(Finding(probe=name, state=state, about=about, target=about or name))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("seen", "where"),
    [
        ("router lost, gateway lost, neighbour lost, elsewhere lost", "data_centre"),
        ("router lost, gateway well, neighbour well", "nothing"),  # it merely answers no echo
        ("router well, gateway lost, carrier lost, neighbour lost, elsewhere lost", "carrier"),
        ("router well, gateway lost, carrier lost, neighbour lost, elsewhere well", "upstream"),
        ("router well, gateway lost, neighbour lost, elsewhere well", "upstream"),
        ("router well, gateway lost, neighbour lost, neighbour well", "line_or_power"),
        ("router well, gateway lost, carrier lost, neighbour well", "line"),
        ("router well, gateway lost, carrier well, neighbour well", "line_or_power"),
        ("router well, gateway lost, carrier well, neighbour lost, elsewhere well", "line_or_power"),
        ("router well, gateway lost, carrier lost", "unknown"),  # no neighbour to part line from upstream
        ("router well", "unknown"),
        ("router unknown, gateway unknown, neighbour well", "unknown"),
        ("gateway well, gateway lost, carrier well, carrier lost", "redundancy"),
        ("gateway lost, gateway lost, carrier well, neighbour well", "line_or_power"),
        ("gateway poor, neighbour poor, neighbour poor, neighbour well", "upstream_poor"),
        ("gateway poor, neighbour well, neighbour well", "line_poor"),
        ("gateway poor", "line_poor"),
        ("gateway well, inside_line lost, service:mail well", "line_poor"),
        ("gateway well, lan well, service:mail lost, inside_service:mail lost", "service"),
        ("gateway well, lan well, service:mail well, inside_service:mail lost", "service_path"),
        ("gateway well, lan lost, lan lost, login well, agent well", "lan"),
        ("gateway well, lan lost, login well, agent well, inside_lan well", "nothing"),  # only a filter between
        ("gateway well, lan lost, agent lost", "agent"),
        ("gateway well, reflector lost, agent well", "reflector"),
        ("gateway lost, carrier well, reflector lost", "line_or_power"),
        ("gateway well, lan well, agent well, service:mail well, inside_service:mail well", "nothing"),
        ("gateway well, login unknown, agent unknown", "nothing"),
    ],
)
def test_what_was_seen_has_this_verdict(seen: str, where: Where) -> None:
    assert verdict_of(findings(seen)).where == where


def test_the_services_and_the_upstream_are_named() -> None:
    lost = verdict_of(findings("gateway well, service:Thư điện tử lost, service:DNS lost"))
    assert lost.text["vi"].startswith("Dịch vụ Thư điện tử, DNS không hoạt động")
    down = verdict_of(findings("gateway lost, neighbour lost, elsewhere well"), "Cái Khế")
    assert "Upstream Cái Khế is down" in down.text["en"]


def test_the_page_lists_the_rules_in_their_order() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [where for where, _ in RULES]
    assert set(listed) == set(get_args(Where)) == set(_WORDS)


PROBES, STATES = get_args(Probe), get_args(State)
FINDINGS = st.lists(
    st.builds(lambda p, s, a: Finding(probe=p, state=s, about=a, target="t"), st.sampled_from(PROBES),
              st.sampled_from(STATES), st.sampled_from(["", "mail", "web"])),
    max_size=12,
)  # fmt: skip


@given(FINDINGS, st.randoms())
def test_the_order_of_looking_changes_no_verdict_and_what_is_unknown_neither(
    found: list[Finding], chance: object
) -> None:
    mixed = [each for each in found if each.state != "unknown"]
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert verdict_of(mixed).where == verdict_of(found).where


@given(FINDINGS)
def test_every_finding_and_verdict_can_be_said_in_both_languages(found: list[Finding]) -> None:
    verdict = verdict_of(found, "POP")
    for text in (verdict.text, verdict.next, *(finding.text for finding in found)):
        assert set(text) == {"vi", "en"}
        assert all(words and "{" not in words for words in text.values())


def test_every_probe_and_state_reads_well() -> None:
    for probe, state in itertools.product(PROBES, STATES):
        said = Finding(
            probe=probe, state=state, target="10.0.0.1", about="mail", loss_ratio=0.3, reason="no route"
        ).text
        assert said["vi"] != said["en"]


def result(error: str | None = None, reason: str | None = None, **metrics: float) -> Result:
    return Result(
        site="1", node="n", check="icmp_echo", target="10.0.0.1", measured_at=0, duration_seconds=1,
        metrics=metrics, error=error, reason=reason,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("measured", "state", "said"),
    [
        (result(loss_ratio=0, rtt_median_seconds=0.012), "well", "well (round trip 12 ms)"),
        (result(loss_ratio=0.1, rtt_median_seconds=0.012), "well", "well (loss 10 %, round trip 12 ms)"),
        (result(loss_ratio=0.4, rtt_median_seconds=0.1), "poor", "poor (loss 40 %, round trip 100 ms)"),
        (result(loss_ratio=1, reason="no answer"), "lost", "does not answer (no answer)"),
        (result(success=0, reason="connection refused"), "lost", "does not answer (connection refused)"),
        (result(error="may not open a socket"), "unknown", "could not be looked at (may not open a socket)"),
    ],
)
def test_a_measurement_is_said_with_its_evidence(measured: Result, state: State, said: str) -> None:
    finding = of_result(measured, probe="gateway")
    assert (finding.state, finding.text["en"]) == (state, f"The site's gateway (10.0.0.1): {said}")

"""Limits: what colour a value is, how a breach is said, and which files are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checks import registry
from checks.limits import Level, Limit, base_metric, load_limits, say
from checks.strict import ConfigError, build

if TYPE_CHECKING:
    from pathlib import Path

LOSS = Limit(check="icmp_echo", metric="loss_ratio", yellow=Level(0.05, 0.02), red=Level(0.5, 0.2))
EXPIRY = Limit(check="http_get", metric="certificate_expiry_days", above=False, yellow=Level(21, 22), red=Level(7, 8))


def test_a_value_without_a_past_is_judged_by_the_values_it_enters_at() -> None:
    assert [LOSS.judge(v) for v in (0.0, 0.049, 0.05, 0.3, 0.5, 1.0)] == [
        "green", "green", "yellow", "yellow", "red", "red",
    ]  # fmt: skip
    assert [EXPIRY.judge(v) for v in (90, 21, 8, 7, -3)] == ["green", "yellow", "yellow", "red", "red"]


def test_a_colour_is_kept_until_the_value_it_leaves_at() -> None:
    assert LOSS.judge(0.3, before="red") == "red"
    assert LOSS.judge(0.19, before="red") == "yellow"
    assert LOSS.judge(0.03, before="red") == "yellow"
    assert LOSS.judge(0.01, before="red") == "green"
    assert LOSS.judge(0.03, before="yellow") == "yellow"
    assert LOSS.judge(0.03, before="green") == "green"
    assert EXPIRY.judge(21.5, before="yellow") == "yellow"


def test_a_limit_phrases_its_own_breach_in_both_languages() -> None:
    assert LOSS.breach(0.6, "red", "en") == "loss_ratio 60 % ≥ 50 %"
    assert EXPIRY.breach(20, "yellow", "vi") == "certificate_expiry_days 20 ≤ 21"
    disk = next(limit for limit in load_limits() if limit.metric == "disk_used_ratio")
    assert disk.breach(0.96, "red", "vi", "disk_used_ratio[/var]") == "/var: ổ đĩa đầy 96 % (ngưỡng 95 %)"
    assert disk.breach(0.96, "red", "en", "disk_used_ratio[/var]") == "/var: disk 96 % full (limit 95 %)"
    assert LOSS.breach(0.0, "green", "en") == "loss_ratio 0 % (green)"


def test_values_are_written_as_people_read_them() -> None:
    assert say("rtt_median_seconds", 0.0123) == "12.3 ms"
    assert say("total_seconds", 3) == "3 s"
    assert say("battery_runtime_seconds", 7199) == "7199 s"
    assert say("age_seconds", 9000) == "2.5 h"
    assert say("next_update_seconds", -604_800) == "-7 d"
    assert say("disk_used_ratio[/]", 0.5) == "50 %"
    assert base_metric("nic_up[eth0]") == "nic_up"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs a yellow or a red level"),
        ({"red": {"enter": 0.5, "leave": 0.6}}, "red: leave (0.6) must be at or below enter (0.5)"),
        ({"above": False, "red": {"enter": 7, "leave": 6}}, "red: leave (6) must be at or above enter (7)"),
        (
            {"yellow": {"enter": 0.5, "leave": 0.5}, "red": {"enter": 0.4, "leave": 0.4}},
            "red (0.4) must be above yellow (0.5)",
        ),
        ({"red": {"enter": 1, "leave": 1}, "k": 4, "n": 3}, "k of n: k (4) must not be more than n (3)"),
        ({"red": {"enter": 1, "leave": 1}, "n": 65}, "expected `int` <= 64"),
        ({"red": {"enter": 1, "leave": 1}, "metric": "a[b]"}, "metric is written without its instance: a"),
        ({"red": {"enter": 1}}, "$.red.leave: is missing"),
        (
            {"rod": {}},
            "$.rod: is unknown; there are: above, check, k, metric, n, packets, red, service, sites, words, yellow",
        ),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Limit, {"check": "x", "metric": "y", **given})
    assert message in str(caught.value)


def test_the_same_limit_twice_names_both_places(tmp_path: Path) -> None:
    file = tmp_path / "limits.yml"
    row = "- {check: a, metric: b, red: {enter: 1, leave: 1}}\n"
    file.write_text(row + row, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_limits(file)
    assert str(caught.value) == f"{file}: $[1]: a b already has its limits at $[0]"


def test_the_limits_we_ship_name_metrics_that_the_checks_have() -> None:
    for limit in load_limits():
        if limit.check != "agent":
            assert limit.metric in {base_metric(name) for name in registry.load(limit.check).metrics}

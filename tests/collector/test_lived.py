"""A silence that is over is explained by what its node lived through, and nobody is called."""

from __future__ import annotations

import pytest

from checks.strict import build
from collector.config import Config
from tests.collector.judging import Judge, Told, instant

CONFIG = build(Config, {"sites": [{"site": "1", "name": "Commune 1", "upstream": "pop-1"}]})
AWAY, BACK = 100, 160


def beat(second: float, up: float) -> str:
    return f"agent,site=1,node=gw uptime_seconds={up} {instant(second)}"


def machine(second: float, up: float) -> str:
    return f"host_health,site=1,node=gw,target=host uptime_seconds={up} {instant(second)}"


def train(second: float, loss: float) -> str:
    return f"stamp,site=1,node=gw,target=10.92.0.10 loss_ratio={loss} {instant(second)}"


def live(*after: list[str], restart: bool = False) -> list[Told]:
    """Beat until `AWAY`, be silent until `BACK`, then send `after`, a second apart, and beat on."""
    judge = Judge(CONFIG)
    for second in range(0, AWAY, 5):
        judge.arrive(f"{beat(second, second + 500)}\n{machine(second, second + 5000)}".encode(), instant(second))
    for number, lines in enumerate(after):
        judge.arrive("\n".join(lines).encode(), instant(BACK + number))
        if restart:
            judge.restart(instant(BACK + number + 0.5))
    return judge.told


def loud(told: list[Told]) -> list[str | None]:
    return [item.tell for item in told if item.tell in ("opened", "resolved", "reopened", "escalated")]


@pytest.mark.parametrize("restart", [False, True])
def test_a_spool_full_of_lost_trains_says_that_the_line_was_cut(*, restart: bool) -> None:
    spool = [train(second, 1) for second in range(AWAY + 5, BACK, 10)]
    told = live([beat(BACK, 660)], [*spool, beat(BACK + 1, 661)], restart=restart)
    assert loud(told) == ["opened", "resolved"]
    corrected = told[-1]
    assert (corrected.tell, corrected.cause, corrected.id, corrected.state) == (
        "corrected", "line", "000001", "resolved",
    )  # fmt: skip


def test_trains_that_were_answered_all_the_time_say_that_only_delivery_failed() -> None:
    spool = [train(second, 0) for second in range(AWAY + 5, BACK, 10)]
    late = [[beat(BACK + 1 + n, 661 + n)] for n in range(40)]
    told = live([beat(BACK, 660)], spool, *late)
    assert loud(told) == ["opened", "resolved"]
    assert [item.cause for item in told if item.tell == "corrected"] == ["delivery"]


@pytest.mark.parametrize(
    ("agent_up", "machine_up", "cause"),
    [(20, 40, ["off"]), (20, 5160, ["agent"]), (660, 5160, [])],
    ids=["machine was off", "agent had stopped", "neither"],
)
def test_since_when_it_is_up_says_what_had_stopped(agent_up: float, machine_up: float, cause: list[str]) -> None:
    after = [[beat(BACK + n, agent_up + n), machine(BACK + n, machine_up + n)] for n in range(40)]
    told = live(*after)
    assert loud(told) == ["opened", "resolved"]
    assert [item.cause for item in told if item.tell == "corrected"] == cause


def test_a_box_that_was_restarted_long_after_its_line_was_cut_was_cut_off_first() -> None:
    spool = [train(second, 1) for second in range(AWAY + 5, AWAY + 40, 10)]
    after = [[beat(BACK + n, 5 + n), machine(BACK + n, 25 + n)] for n in range(3)]
    told = live(*after, spool, *[[beat(BACK + 4 + n, 9 + n)] for n in range(40)])
    assert [item.cause for item in told if item.tell == "corrected"] == ["line"]


def test_when_most_sites_behind_an_upstream_had_been_off_the_power_was_out() -> None:
    sites = [{"site": str(n), "name": f"Commune {n}", "upstream": "pop-1"} for n in range(1, 8)]
    judge = Judge(build(Config, {"sites": sites}))

    def body(second: int, wanted: range, up: float) -> bytes:
        lines = (
            line.replace("site=1,", f"site={n},") for n in wanted for line in (beat(second, up), machine(second, up))
        )
        return "\n".join(lines).encode()

    for second in range(0, AWAY, 5):
        judge.arrive(body(second, range(1, 8), second + 900), instant(second))
    for second in range(BACK, BACK + 60, 5):
        judge.arrive(body(second, range(1, 8), second - BACK + 20), instant(second))
    assert loud(judge.told) == ["opened", "resolved"]
    last = judge.told[-1]
    assert (last.tell, last.kind, last.cause) == ("corrected", "upstream", "power")

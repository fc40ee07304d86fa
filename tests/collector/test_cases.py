"""Which incidents a province of sites sees when upstreams fail, whatever the stream has gone through on its way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from checks.strict import build
from collector.config import Config
from tests.collector.judging import Judge, Told, instant

if TYPE_CHECKING:
    from collections.abc import Iterable

CUT, OTHER, HEALED, END = 60.0, 65.0, 160.0, 232.0


class Trials(NamedTuple):
    """What a stream goes through: by the chances of each body, and when the collector is started again."""

    seed: int = 1
    delay: float = 0.0
    twice: float = 0.0
    dropped: float = 0.0
    restarts: tuple[tuple[float, float], ...] = ()
    """When, and how long it is away."""


class Province(NamedTuple):
    """So many sites behind one point of presence, so many behind another."""

    first: int
    second: int

    @property
    def sites(self) -> list[int]:
        return list(range(1, self.first + self.second + 1))

    @property
    def config(self) -> Config:
        sites = [
            {"site": str(n), "name": f"Commune {n}", "upstream": "pop-1" if n <= self.first else "pop-2"}
            for n in self.sites
        ]
        upstreams = [{"upstream": "tslcd"}, *({"upstream": f"pop-{n}", "parent": "tslcd"} for n in (1, 2))]
        return build(Config, {"sites": sites, "upstreams": upstreams})

    def lives(self, site: int, second: float) -> bool:
        """Tell whether a site is connected: the first upstream is cut for 100 s, but one site behind it for good."""
        if site <= self.first:
            return second < CUT or (second >= HEALED and site != 1)
        return site != self.sites[-1] or second < OTHER

    def bodies(self, chance: np.random.Generator) -> Iterable[tuple[float, bytes]]:
        """Yield when each body is sent: every site's own, and the reflector's count of all, a second apart."""
        heard = dict.fromkeys(self.sites, 0.0)
        phases = dict(zip(self.sites, chance.uniform(0, 2, len(self.sites)).tolist(), strict=True))
        for second in np.arange(0, END, 1).tolist():
            for site in self.sites:
                sent = second + phases[site] % 1
                if int(second) % 2 == int(phases[site]) and self.lives(site, sent):
                    yield sent, f"agent,site={site},node=gw uptime_seconds=1 {instant(sent)}".encode()
            at, lines = second + 0.5, [f"agent,site=data-centre,node=dc uptime_seconds=1 {instant(second + 0.5)}"]
            for site in self.sites:
                heard[site] = at - 0.2 if self.lives(site, at) else heard[site]
                counted = f"silent_seconds={at - heard[site]:.3f},packets_received={int(self.lives(site, at))}"
                lines.append(f"stamp_sender,site=data-centre,node=dc,target={site} {counted} {instant(at)}")
            yield at, "\n".join(lines).encode()


def lived(province: Province, trials: Trials) -> list[Told]:
    """Judge a province's stream after all that it goes through."""
    chance = np.random.default_rng(trials.seed)
    arrivals = []
    for sent, body in province.bodies(chance):
        own = b"stamp_sender" in body  # the reflector is beside the collector
        if not own and chance.random() < trials.dropped:
            continue
        for _ in range(1 + (chance.random() < trials.twice)):
            arrivals.append((sent + chance.uniform(0, 0.1 if own else trials.delay), sent, body))
    judge, restarts = Judge(province.config), sorted(trials.restarts)
    held_until = 0.0
    for arrived, sent, body in sorted(arrivals):
        while restarts and restarts[0][0] <= arrived:
            at, away = restarts.pop(0)
            judge.restart(instant(max(at, held_until)), away)
            held_until = max(at, held_until) + away
        judge.arrive(body, instant(max(arrived, held_until)), instant(sent))
    judge.pass_until(instant(END + 5))
    return judge.told


def rings(told: Iterable[Told]) -> list[tuple[str | None, str, str, str]]:
    """Return what rang: how, of which kind, at which site, by which name."""
    loud = ("opened", "reopened", "escalated", "resolved", "due")
    return [(item.tell, item.kind, item.site, item.name) for item in told if item.tell in loud]


def expected(province: Province) -> Counter[tuple[str, str, str, str]]:
    return Counter([
        ("opened", "upstream", "", "pop-1"), ("resolved", "upstream", "", "pop-1"),
        ("opened", "silence", str(province.sites[-1]), "gw"), ("opened", "silence", "1", "gw"),
    ])  # fmt: skip


def check(province: Province, trials: Trials) -> None:
    told = lived(province, trials)
    assert Counter(rings(told)) == expected(province)
    (child,) = [item for item in told if item.tell == "opened" and item.site == "1"]
    away = sum(away for _, away in trials.restarts)
    assert HEALED < child.at <= HEALED + 10 + trials.delay + (4 if trials.dropped else 0) + (30 if away else 0)


@pytest.mark.parametrize("seed", range(3))
def test_forty_of_103_sites_lose_one_point_of_presence_in_any_order_and_one_incident_tells_of_it(seed: int) -> None:
    check(Province(40, 63), Trials(seed=seed, delay=0.4, restarts=((61.0 + seed, 0.5),)))


SMALL = Province(8, 9)


@pytest.mark.timeout(400)  # on a machine that does much else
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), delay=st.floats(0, 1.2), twice=st.floats(0, 0.5), dropped=st.floats(0, 0.05))
def test_delayed_shuffled_doubled_and_dropped_the_stream_tells_of_the_same_incidents(
    seed: int, delay: float, twice: float, dropped: float
) -> None:
    check(SMALL, Trials(seed, delay, twice, dropped))


@pytest.mark.timeout(400)  # on a machine that does much else
@settings(max_examples=15, deadline=None)
@example(seed=0, restarts=[(58.5, 2.0)])  # away while the line is cut: most of those lost are heard of no more
@given(seed=st.integers(0, 999), restarts=st.lists(st.tuples(st.floats(5, 225), st.floats(0, 3)), max_size=3))
def test_wherever_the_collector_is_started_again_it_tells_of_the_same_incidents(
    seed: int, restarts: list[tuple[float, float]]
) -> None:
    check(SMALL, Trials(seed, 0.4, restarts=tuple(restarts)))


def test_late_and_replayed_data_notify_nobody() -> None:
    judge, province = Judge(SMALL.config), SMALL
    bodies = list(province.bodies(np.random.default_rng(1)))
    judge.arrive(b"agent,site=data-centre,node=dc uptime_seconds=1", instant(10_000))
    for number, (_, body) in enumerate(bodies):  # all of it an hour late and more, sent by clocks that are right
        now = instant(10_000 + number / 1000)
        judge.arrive(body, now, now)
    judge.pass_until(instant(10_009))
    assert judge.told == []


def test_a_node_that_is_off_before_its_spool_arrives_rings_once_and_the_spool_rings_nobody() -> None:
    judge, province = Judge(SMALL.config), SMALL
    spooled = [
        f"tcp_connect,site=3,node=gw,target=portal:443 success=0 {instant(second)}" for second in range(101, 150, 2)
    ]
    for second in range(0, 100, 2):
        judge.arrive(f"agent,site=3,node=gw uptime_seconds=1 {instant(second)}".encode(), instant(second))
    now = instant(200)
    judge.arrive("\n".join([*spooled, f"agent,site=3,node=gw uptime_seconds=1 {now}"]).encode(), now, now)
    judge.pass_until(instant(300))
    tells = [(item.tell, item.kind) for item in judge.told if item.tell != "corrected"]
    assert tells[:2] == [("opened", "silence"), ("resolved", "silence")]
    assert all(item.kind == "silence" for item in judge.told)
    assert province.sites

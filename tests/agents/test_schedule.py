"""Beats lie on a grid, stay there, and never meet themselves."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from agents.config import Job
from agents.schedule import SECOND, Schedule, phase_ns

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checks.check import Check


class Named:
    """As much of a check as a schedule looks at."""

    def __init__(self, name: str) -> None:
        self.name = name


def job(target: str, interval_seconds: float = 10, check: str = "count") -> Job:
    named: Check = Named(check)  # type: ignore[assignment]  # a schedule never measures
    return Job(named, target, interval_seconds)


def schedule(jobs: Iterable[Job], *, concurrency: int = 16, origin_ns: int = 0, now: int = 0) -> Schedule:
    return Schedule(jobs, site="31120", node="gw", concurrency=concurrency, origin_ns=origin_ns, now=now)


INTERVALS = st.integers(1, 30).map(float) | st.floats(1, 30, allow_nan=False)


@given(st.lists(INTERVALS, min_size=1, max_size=6), st.integers(0, 2**40), st.integers(-(2**62), 2**62))
def test_every_beat_lies_on_the_grid_of_its_job_and_none_is_missed(
    intervals: list[float], now: int, origin_ns: int
) -> None:
    jobs = [job(str(i), interval) for i, interval in enumerate(intervals)]
    beats = schedule(jobs, origin_ns=origin_ns, now=now)
    counts = dict.fromkeys((j.key for j in jobs), 0)
    end = now + 120 * SECOND
    while (at := beats.next_at()) is not None and at < end:
        for started in beats.take(at):
            interval_ns = round(started.interval_seconds * SECOND)
            assert (at - origin_ns - phase_ns("31120", "gw", *started.key, interval_ns)) % interval_ns == 0
            counts[started.key] += 1
            beats.done(started)
    for j in jobs:
        interval_ns = round(j.interval_seconds * SECOND)
        assert counts[j.key] in (120 * SECOND // interval_ns, 120 * SECOND // interval_ns + 1)
    assert beats.overruns == 0


@given(
    st.lists(st.integers(1, 5).map(float), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(0, 2**32),
)
def test_no_job_runs_beside_itself_and_the_cap_holds_whatever_takes_how_long(
    intervals: list[float], concurrency: int, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311  (a seeded story, no secret)
    jobs = [job(str(i), interval) for i, interval in enumerate(intervals)]
    beats = schedule(jobs, concurrency=concurrency)
    running: list[Job] = []
    started = 0
    now = 0
    for _ in range(300):
        now += chance.randrange(SECOND)
        for ended in [j for j in running if chance.random() < 0.4]:
            running.remove(ended)
            beats.done(ended)
        if chance.random() < 0.05:
            kept = [j for j in jobs if chance.random() < 0.8]
            beats.replace(kept, site="31120", node="gw", concurrency=concurrency, now=now)
        new = beats.take(now)
        started += len(new)
        running += new
        assert len({j.key for j in running}) == len(running) <= concurrency
    assert started


@given(st.text(), st.text(), st.text(), st.text(), st.integers(1, 2**40))
def test_a_phase_is_within_its_interval_and_always_the_same(
    site: str, node: str, check: str, target: str, interval_ns: int
) -> None:
    phase = phase_ns(site, node, check, target, interval_ns)
    assert 0 <= phase < interval_ns
    assert phase == phase_ns(site, node, check, target, interval_ns)


def test_phases_are_the_same_in_every_version_and_spread_over_the_interval() -> None:
    assert phase_ns("31120", "gw", "icmp_echo", "10.92.0.1", 10 * SECOND) == 6_065_707_334
    phases = sorted(phase_ns(str(site), "gw", "icmp_echo", "10.92.0.1", 10 * SECOND) for site in range(1000))
    widest = max(after - before for before, after in itertools.pairwise(phases))
    assert widest < SECOND / 5


def test_a_check_that_is_still_busy_skips_its_beat_and_keeps_its_grid() -> None:
    beats = schedule([job("slow")])
    first = beats.next_at()
    assert first is not None
    (slow,) = beats.take(first)
    assert beats.take(first + 10 * SECOND) == []
    assert beats.take(first + 20 * SECOND) == []
    assert beats.overruns == 2
    beats.done(slow)
    assert beats.take(first + 25 * SECOND) == []
    assert beats.take(first + 30 * SECOND) == [slow]


def test_an_agent_that_was_held_up_runs_once_and_counts_the_rest() -> None:
    beats = schedule([job("a")])
    first = beats.next_at()
    assert first is not None
    assert len(beats.take(first + 35 * SECOND)) == 1
    assert beats.overruns == 3
    assert beats.next_at() == first + 40 * SECOND


def test_who_waits_for_a_place_gets_it_in_turn() -> None:
    jobs = [job(str(i)) for i in range(4)]
    beats = schedule(jobs, concurrency=1)
    (first,) = beats.take(10 * SECOND)
    order = [first]
    while beats.has_waiting:
        beats.done(order[-1])
        order += beats.take(10 * SECOND)
    by_phase = sorted(jobs, key=lambda j: phase_ns("31120", "gw", "count", j.target, 10 * SECOND))
    assert order == by_phase


def test_a_reload_keeps_the_beats_of_what_did_not_change() -> None:
    kept, dropped = job("kept"), job("dropped")
    beats = schedule([kept, dropped])
    due = schedule([kept]).next_at()
    beats.replace([kept, job("new")], site="31120", node="gw", concurrency=4, now=0)
    found = {}
    while (at := beats.next_at()) is not None and at < 10 * SECOND:
        for started in beats.take(at):
            found[started.target] = at
            beats.done(started)
    assert set(found) == {"kept", "new"}
    assert found["kept"] == due


def test_a_check_whose_interval_changes_while_it_runs_does_not_meet_itself() -> None:
    beats = schedule([job("a", 10)])
    (old,) = beats.take(10 * SECOND)
    beats.replace([job("a", 2)], site="31120", node="gw", concurrency=4, now=10 * SECOND)
    assert beats.take(14 * SECOND) == []
    beats.done(old)
    assert [j.interval_seconds for j in beats.take(16 * SECOND)] == [2]


def test_a_check_that_is_removed_while_it_runs_and_comes_back_does_not_meet_itself() -> None:
    beats = schedule([job("a")])
    (old,) = beats.take(10 * SECOND)
    beats.replace([], site="31120", node="gw", concurrency=4, now=10 * SECOND)
    assert beats.next_at() is None
    beats.replace([job("a")], site="31120", node="gw", concurrency=4, now=10 * SECOND)
    assert beats.take(20 * SECOND) == []
    beats.done(old)
    assert len(beats.take(30 * SECOND)) == 1

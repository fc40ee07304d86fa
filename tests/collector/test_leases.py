"""Leases: who may load which line when. Nights of 103 and 3,321 sites, on a clock of the tests' own."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from datetime import datetime, time
from itertools import combinations, pairwise
from zoneinfo import ZoneInfo

import pytest

from collector.leases import Lease, Leases, Rules, Span, Wait

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
NIGHT = (Span(time(22), time(5)),)
MB = 1_000_000


def at(text: str) -> float:
    return datetime.fromisoformat(f"2026-11-{text}").replace(tzinfo=ZONE).timestamp()


def rules(hours: tuple[Span, ...] = (), budget: int = 200 * MB) -> Rules:
    return Rules(hours, ZONE, budget, 90.0)


def ask(
    leases: Leases, site: str, now: float, *, upstream: str = "", server: str = "s", size: int = MB
) -> Lease | Wait:
    return leases.ask(
        id=f"{site}@{now}", site=site, upstream=upstream or site, server=server, bytes=size, seconds=45, now=now
    )


def test_one_test_at_a_time_on_a_server_and_on_an_upstream() -> None:
    leases = Leases(rules())
    now = at("24 12:00")
    assert isinstance(ask(leases, "a", now, upstream="u1", server="s1"), Lease)
    same_server = ask(leases, "b", now, upstream="u2", server="s1")
    same_upstream = ask(leases, "c", now, upstream="u1", server="s2")
    assert isinstance(same_server, Wait)
    assert isinstance(same_upstream, Wait)
    assert same_server.busy
    assert same_server.words == "another test runs on this line or server (site a); 0 sites are before this one"
    assert isinstance(ask(leases, "d", now, upstream="u2", server="s2"), Lease), "nothing in common"


def test_a_lease_ends_when_it_is_given_back_by_its_owner_and_by_nobody_else() -> None:
    leases = Leases(rules())
    now = at("24 12:00")
    lease = ask(leases, "a", now)
    assert isinstance(lease, Lease)
    assert leases.give_back(lease.id, "b", now + 1) is None
    assert isinstance(ask(leases, "b", now + 1), Wait)
    assert leases.give_back(lease.id, "a", now + 2) is not None
    assert leases.give_back(lease.id, "a", now + 2) is None, "once"
    assert isinstance(ask(leases, "b", now + 3), Lease)


def test_a_lease_that_is_never_given_back_frees_itself() -> None:
    leases = Leases(rules())
    now = at("24 12:00")
    assert isinstance(ask(leases, "a", now), Lease)
    assert isinstance(ask(leases, "b", now + 44), Wait)
    assert isinstance(ask(leases, "b", now + 46), Lease)
    assert leases.give_back(f"a@{now}", "a", now + 46) is None, "it has expired"


def test_who_came_first_goes_first_and_who_does_not_come_is_not_waited_for() -> None:
    leases = Leases(rules())
    now = at("24 12:00")
    first = ask(leases, "a", now)
    assert isinstance(first, Lease)
    told = ask(leases, "b", now + 1)
    assert isinstance(told, Wait)
    leases.give_back(first.id, "a", now + 2)
    due = now + 1 + told.seconds
    assert isinstance(ask(leases, "c", due), Wait), "b is due"
    assert isinstance(ask(leases, "b", due + 1), Lease)
    assert isinstance(ask(leases, "d", due + 2), Wait)
    assert isinstance(ask(leases, "e", due + 200), Lease), "neither c nor d has come again"


def test_outside_the_hours_each_site_has_its_own_place_within_them() -> None:
    leases = Leases(rules(NIGHT))
    noon = at("24 12:00")
    places = []
    for site in range(200):
        told = ask(leases, str(site), noon)
        assert isinstance(told, Wait)
        assert not told.busy
        assert told.words == "tests run at 22:00-05:00 (Asia/Ho_Chi_Minh) only"
        places.append(noon + told.seconds)
    assert at("24 22:00") <= min(places) < at("24 22:15")
    assert at("25 03:00") < max(places) < at("25 05:00")
    assert isinstance(ask(leases, "7", places[7]), Lease)
    assert isinstance(ask(leases, "8", at("25 04:59:59")), Lease | Wait)
    assert isinstance(ask(leases, "9", at("25 05:00")), Wait)


def test_a_site_has_a_budget_for_the_day_and_gets_back_what_it_did_not_use() -> None:
    leases = Leases(rules(budget=100 * MB))
    now = at("24 12:00")
    lease = ask(leases, "a", now, size=80 * MB)
    assert isinstance(lease, Lease)
    leases.give_back(lease.id, "a", now + 5, bytes_used=3 * MB)
    lease = ask(leases, "a", now + 10, size=80 * MB)
    assert isinstance(lease, Lease)
    leases.give_back(lease.id, "a", now + 15)
    told = ask(leases, "a", now + 20, size=80 * MB)
    assert isinstance(told, Wait)
    assert told.words == "the site has 17000000 of 100000000 bytes left for today, and 80000000 are wanted"
    assert now + 20 + told.seconds == at("25 00:00"), "local midnight"
    assert isinstance(ask(leases, "a", at("25 00:00"), size=80 * MB), Lease)


def test_a_restart_forgets_neither_a_lease_nor_the_budget() -> None:
    now = at("24 12:00")
    before = Leases(rules(budget=100 * MB))
    held = ask(before, "a", now, size=60 * MB)
    assert isinstance(held, Lease)
    after = Leases(rules(budget=100 * MB), [held])
    assert isinstance(ask(after, "b", now + 1), Wait), "a still loads the server"
    assert isinstance(ask(after, "a", now + 1, size=60 * MB), Wait), "a has used its day"
    assert after.give_back(held.id, "a", now + 5) is not None


@pytest.mark.parametrize(("sites", "upstreams"), [(103, 12), (3_321, 340)])
def test_a_night_everybody_has_a_turn_and_no_two_on_one_upstream_or_server(sites: int, upstreams: int) -> None:
    """Agents wake at any time of the day, take 2 to 5 seconds for a test, come a little late, and some crash."""
    chance = random.Random(sites)  # noqa: S311  (a story, told the same each time)
    leases = Leases(rules(NIGHT))
    begin, end = at("24 08:00"), at("25 05:00")
    events = [(begin + chance.random() * 12 * 3600, number, "ask", "") for number in range(sites)]
    heapq.heapify(events)
    granted: list[tuple[Lease, float]] = []
    turns: Counter[int] = Counter()
    asked: Counter[int] = Counter()
    while events:
        now, number, what, lease_id = heapq.heappop(events)
        if what == "back":
            leases.give_back(lease_id, str(number), now, 2 * MB)
            continue
        if now > end:
            continue
        asked[number] += 1
        told = leases.ask(
            id=f"{number}-{now}", site=str(number), upstream=f"u{number % upstreams}", server="the only one",
            bytes=50 * MB, seconds=45, now=now,
        )  # fmt: skip
        if isinstance(told, Wait):
            heapq.heappush(events, (now + told.seconds + chance.random() * 0.5, number, "ask", ""))
            continue
        turns[number] += 1
        takes = 2 + chance.random() * 3
        crashed = chance.random() < 0.005
        ends = told.expires_at if crashed else now + takes
        granted.append((told, ends))
        if not crashed:
            heapq.heappush(events, (ends, number, "back", told.id))
    assert len(turns) == sites, "everybody"
    granted.sort(key=lambda each: each[0].granted_at)
    for (_, ends), (later, _) in pairwise(granted):
        assert later.granted_at >= ends, "one server: one test at a time"
    assert all(at("24 22:00") <= lease.granted_at < end for lease, _ in granted)
    assert max(asked.values()) < 60, "nobody hammers"


def test_many_servers_and_upstreams_are_used_at_once_and_never_twice() -> None:
    chance = random.Random(7)  # noqa: S311  (a story, told the same each time)
    leases = Leases(rules())
    now = begin = at("24 22:00")
    events = [(begin + chance.random() * 60, number, "ask", "") for number in range(300)]
    heapq.heapify(events)
    spans: list[tuple[float, float, str, str]] = []
    while events:
        now, number, what, lease_id = heapq.heappop(events)
        if what == "back":
            leases.give_back(lease_id, str(number), now)
            continue
        upstream, server = f"u{number % 30}", f"s{number % 7}"
        told = ask(leases, str(number), now, upstream=upstream, server=server)
        if isinstance(told, Wait):
            heapq.heappush(events, (now + told.seconds, number, "ask", ""))
            continue
        spans.append((now, now + 3, upstream, server))
        heapq.heappush(events, (now + 3, number, "back", told.id))
    assert len(spans) == 300
    assert now - begin < 900, "seven servers at once: 300 tests of 3 s take minutes, not a quarter of an hour"
    for one, other in combinations(spans, 2):
        if one[2] == other[2] or one[3] == other[3]:
            assert one[1] <= other[0] or other[1] <= one[0]

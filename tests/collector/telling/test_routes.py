"""Who is told: routes, hours, rotas and escalation; and every mistake in them, named when they are read."""

# ruff: noqa: E501  (a mistake and the words it is told in stand on one line)

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checks.strict import ConfigError, build
from collector.config import Config
from collector.incident import Incident, Place
from collector.telling import checking
from collector.telling.hours import ALWAYS, WEEK, Turns, minute_of, minutes_of, spans_of
from collector.telling.plan import News, Planner, Traits
from collector.telling.routes import Book, Subject

ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
MINUTE = 60_000_000_000
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a machine that others use too


def at(text: str) -> int:
    """Return an instant of Vietnam's time, in nanoseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()) * 1_000_000_000


TUESDAY, NIGHT = at("2026-11-24 10:00"), at("2026-11-24 23:00")
PROVINCE: dict[str, Any] = {
    "upstreams": [
        {"upstream": "carrier", "name": "Nhà mạng"},
        {"upstream": "pop_a", "name": "Điểm A", "parent": "carrier"},
        {"upstream": "pop_b", "name": "Điểm B", "parent": "carrier"},
    ],
    "sites": [
        {"site": "1", "name": "Một", "upstream": "pop_a", "group": "Bắc"},
        {"site": "2", "name": "Hai", "upstream": "pop_a", "group": "Bắc"},
        {"site": "3", "name": "Ba", "upstream": "pop_b", "group": "Nam"},
    ],
    "services": [{"service": "portal", "targets": ["10.0.0.1:443"]}, {"service": "mail", "targets": ["10.0.0.2:25"]}],
    "channels": [
        {"channel": name, "url_file": "/x"} for name in ("room", "one-phone", "two-phone", "two-mail", "lead")
    ],
    "people": [
        {"person": "one", "channels": ["one-phone"]},
        {"person": "two", "channels": ["two-phone", "two-mail"]},
    ],
    "rotas": [{"rota": "duty", "people": ["one", "two"], "since": datetime(2026, 11, 23, 8), "days": 1}],  # noqa: DTZ001  (of the configuration's zone)
    "escalations": [
        {
            "escalation": "standard",
            "steps": [{"after_minutes": 10, "tell": ["duty"]}, {"after_minutes": 30, "tell": ["lead", "duty"]}],
            "repeat_minutes": 60,
        }
    ],
}


def config(*routes: dict[str, Any], **more: Any) -> Config:
    return build(Config, {**PROVINCE, "routes": list(routes), **more})


DUTY = {"route": "rest", "tell": ["duty", "room"], "escalation": "standard"}


def path(site: str, severity: Any = "red") -> Subject:
    return Subject(severity, "path", "10.0.0.9", frozenset([site]))


def called(settings: Config, subject: Subject, now: int = TUESDAY) -> set[str]:
    return set(Book(settings).called(subject, now).channels) - {"log"}


def test_the_first_route_that_takes_it_decides_and_the_area_is_where_all_of_it_lies() -> None:
    settings = config({"route": "north", "areas": ["pop_a"], "tell": ["one"]}, DUTY | {"tell": ["two"]})
    assert called(settings, path("1")) == {"one-phone"}
    assert called(settings, path("3")) == {"two-phone", "two-mail"}
    assert called(settings, path("a site that nobody lists")) == {"two-phone", "two-mail"}
    lost = Subject("red", "upstream", "pop_a", frozenset(["1", "2"]))
    assert called(settings, lost) == {"one-phone"}
    wider = Subject("red", "upstream", "carrier", frozenset(["1", "2", "3"]))
    assert called(settings, wider) == {"two-phone", "two-mail"}
    portal = Subject("red", "service", "portal", frozenset(["1", "3"]))
    assert called(settings, portal) == {"two-phone", "two-mail"}


def test_a_route_that_goes_on_is_told_beside_those_below_it_and_everybody_once() -> None:
    settings = config(
        {"route": "apps", "services": ["portal"], "tell": ["lead", "one"], "go_on": True},
        {"route": "rest", "tell": ["one", "room"], "escalation": "standard"},
    )
    portal = Subject("red", "service", "portal", frozenset(["1"]))
    found = Book(settings).called(portal, TUESDAY)
    assert list(found.channels) == ["lead", "one-phone", "room", "log"]
    assert found.by == ("apps", "rest")
    assert called(settings, path("1")) == {"one-phone", "room"}


def test_hours_part_the_day_and_what_is_red_and_no_routes_goes_to_every_channel() -> None:
    settings = config(
        {"route": "day", "hours": ["mon-fri 07:30-17:00"], "tell": ["room"]},
        {"route": "night", "hours": ["daily 22:00-06:00"], "severity": ["red"], "tell": ["duty"]},
    )
    assert called(settings, path("1")) == {"room"}
    assert called(settings, path("1"), NIGHT) == {"two-phone", "two-mail"}
    evening = at("2026-11-24 18:00")
    assert called(settings, path("1"), evening) == {"room", "one-phone", "two-phone", "two-mail", "lead"}
    assert called(settings, path("1", "yellow"), evening) == set()
    (gap,) = checking.gaps(settings)
    assert str(gap).endswith(
        "no route takes a red incident Mon 06:00 – Mon 07:30, Mon 17:00 – Mon 22:00, Tue 06:00 – Tue 07:30"
        " and 9 more spans; every channel will be told"
    )


def test_without_routes_everything_is_told_to_every_channel() -> None:
    everybody = {"room", "one-phone", "two-phone", "two-mail", "lead"}
    settings = build(Config, {**PROVINCE, "people": [], "rotas": [], "escalations": []})
    assert called(settings, path("1")) == called(settings, path("1", "yellow")) == everybody
    assert (checking.gaps(settings), checking.problems(settings)) == ([], [])


@pytest.mark.parametrize(
    ("now", "who"),
    [
        ("2026-11-23 08:00", "one"), ("2026-11-24 07:59", "one"), ("2026-11-24 08:00", "two"), ("2026-11-25 08:00", "one"),
        ("2026-11-23 07:59", "two"), ("2027-11-23 08:00", "two"),
    ],
)  # fmt: skip
def test_a_rota_is_handed_over_at_the_same_time_of_day(now: str, who: str) -> None:
    turns = Turns(["one", "two"], datetime(2026, 11, 23, 8), 1, ZONE)  # noqa: DTZ001  (of the rota's zone)
    assert turns.at(at(now)) == who


def test_summer_time_moves_no_hand_over() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    turns = Turns(["one", "two"], datetime(2026, 3, 28, 8), 1, berlin)  # noqa: DTZ001  (of the rota's zone)
    for day, who in ((29, "two"), (30, "one")):
        for hour, minute, expected in ((7, 59, "one" if who == "two" else "two"), (8, 0, who)):
            now = datetime(2026, 3, day, hour, minute, tzinfo=berlin)
            assert turns.at(int(now.timestamp()) * 1_000_000_000) == expected


@pytest.mark.parametrize(
    ("route", "words"),
    [
        ({"tell": ["nobody"]}, "$.routes[0].tell[0]: no person, rota or channel 'nobody' is listed; there are: one, two, duty, log, room, one-phone, two-phone, two-mail, lead"),
        ({"areas": ["pop_c"]}, "$.routes[0].areas[0]: no upstream, group or site 'pop_c' is listed; there are: Bắc, Nam, carrier, pop_a, pop_b, 1, 2, 3"),
        ({"services": ["web"]}, "$.routes[0].services[0]: no service 'web' is listed; there are: portal, mail"),
        ({"escalation": "x"}, "$.routes[0].escalation: no escalation 'x' is listed; there are: standard"),
        ({"hours": ["mon-fri 7-17"]}, "$.routes[0]: hours 'mon-fri 7-17' are no span of the week; write mon-fri 07:30-17:00, or daily 22:00-06:00"),
        ({"hours": ["someday 07:00-08:00"]}, "$.routes[0]: hours 'someday 07:00-08:00' are no span of the week; write mon-fri 07:30-17:00, or daily 22:00-06:00"),
        ({"severity": []}, "$.routes[0].severity: expected `array` of length >= 1"),
        ({"route": "rest"}, "$.routes[1]: 'rest' is given twice; first at $.routes[0]"),
        ({}, "$.routes[1]: no incident ever reaches route 'rest': those above take all of it: move it up, or let one of them say go_on: true"),
        ({"areas": ["pop_a"], "services": ["portal"], "then": 1}, "$.routes[0].then: is unknown; there are: areas, escalation, go_on, hours, route, services, severity, tell"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_route_is_named_with_its_place(route: dict[str, Any], words: str) -> None:
    with_it = {"route": "first", "tell": ["room"], **route}
    try:
        found = [f"{place}: {said}" for place, said in checking.problems(config(with_it, DUTY))]
    except ConfigError as exc:
        found = exc.lines()
    assert found == [words]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"people": [{"person": "one", "channels": ["fax"]}, {"person": "two", "channels": ["lead"]}]}, "$.people[0].channels[0]: no channel 'fax' is listed; there are: log, room, one-phone, two-phone, two-mail, lead"),
        ({"rotas": [{"rota": "duty", "people": ["one", "six"], "since": datetime(2026, 1, 1)}]}, "$.rotas[0].people[1]: no person 'six' is listed; there are: one, two"),  # noqa: DTZ001  (as above)
        ({"people": [*PROVINCE["people"], {"person": "three", "channels": ["lead"]}]}, "$.people[2]: no route, no escalation and no rota tells 'three'"),
        ({"people": [*PROVINCE["people"], {"person": "room", "channels": ["lead"]}]}, "$.people[2]: 'room' is given twice; first at $.channels[0]"),
        ({"channels": [*PROVINCE["channels"], {"channel": "fax", "url_file": "/x"}]}, "$.channels[5]: no route, no escalation and no person has 'fax'"),
        ({"escalations": [*PROVINCE["escalations"], {"escalation": "other", "steps": [{"after_minutes": 1, "tell": ["lead"]}]}]}, "$.escalations[1]: no route has escalation: other"),
        ({"escalations": [{"escalation": "standard", "steps": [{"after_minutes": 9, "tell": ["boss"]}]}]}, "$.escalations[0].steps[0].tell[0]: no person, rota or channel 'boss' is listed; there are: one, two, duty, log, room, one-phone, two-phone, two-mail, lead"),
        ({"escalations": [{"escalation": "standard", "steps": [{"after_minutes": 9, "tell": ["lead"]}, {"after_minutes": 5, "tell": ["room"]}]}]}, "$.escalations[0]: steps must come one after the other: after_minutes must grow from step to step"),
        ({"telling": {"digest_at": ["7h"]}}, "$.telling: '7h' is no time of day; write 07:30"),
        ({"telling": {"time_zone": "Mars"}}, "$.telling: time_zone 'Mars' is not known here; write Asia/Ho_Chi_Minh"),
        ({"drill": {"monthly": "every day"}}, "$.drill: monthly 'every day' is no day of a month; write first tue 09:30, or last fri 14:00"),
    ],
)  # fmt: skip
def test_a_mistake_in_whom_routes_name_is_named_with_its_place(more: dict[str, Any], words: str) -> None:
    try:
        found = [f"{place}: {said}" for place, said in checking.problems(config(DUTY, **more))]
    except ConfigError as exc:
        found = exc.lines()
    assert found == [words]


def test_a_route_between_two_that_share_the_week_is_reached_only_in_what_they_leave() -> None:
    day, night = {"hours": ["daily 06:00-22:00"]}, {"hours": ["daily 22:00-06:00"]}
    routes = [{"route": name, "tell": ["duty", "room"], "escalation": "standard"} for name in ("day", "night", "never")]
    ((place, words),) = checking.problems(config(routes[0] | day, routes[1] | night, routes[2]))
    assert place == "$.routes[2]"
    assert words.startswith("no incident ever reaches route 'never'")
    late = {"hours": ["daily 22:00-05:59"]}
    assert checking.problems(config(routes[0] | day, routes[1] | late, routes[2])) == []


SPAN = st.tuples(
    st.sampled_from(["mon", "tue-thu", "fri-mon", "daily", "sat,sun"]), st.integers(0, 1439), st.integers(1, 1440)
).filter(lambda span: span[1] != span[2])


def written(span: tuple[str, int, int]) -> str:
    days, start, end = span
    return f"{days} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"


@PATIENT
@given(SPAN)
def test_a_span_of_the_week_has_the_minutes_it_says(span: tuple[str, int, int]) -> None:
    days, start, end = span
    count = {"mon": 1, "tue-thu": 3, "fri-mon": 4, "daily": 7, "sat,sun": 2}[days]
    mask = minutes_of([written(span)])
    assert mask.bit_count() == min(count * ((end - start) % 1440 or 1440), WEEK) or end < start
    assert 0 < mask <= ALWAYS
    assert mask >> ({"mon": 0, "tue-thu": 1, "fri-mon": 4, "daily": 0, "sat,sun": 5}[days] * 1440 + start) & 1
    assert spans_of(mask)


ROUTE = st.fixed_dictionaries(
    {"tell": st.just(["room"])},
    optional={
        "severity": st.sampled_from([["red"], ["yellow"], ["red", "yellow"]]),
        "areas": st.lists(st.sampled_from(["pop_a", "carrier", "Nam", "1"]), min_size=1, max_size=2),
        "services": st.lists(st.sampled_from(["portal", "mail"]), min_size=1, max_size=2),
        "hours": st.lists(SPAN.map(written), min_size=1, max_size=2),
        "go_on": st.booleans(),
    },
)
SUBJECT = st.builds(
    Subject,
    st.sampled_from(["red", "yellow"]),
    st.sampled_from(["path", "service", "upstream", "silence", "collector"]),
    st.sampled_from(["portal", "mail", "pop_a", "pop_b", "carrier", "other"]),
    st.frozensets(st.sampled_from(["1", "2", "3", "elsewhere"]), min_size=1),
)


@PATIENT
@given(st.lists(ROUTE, min_size=1, max_size=5), st.lists(SUBJECT, max_size=8), st.integers(0, WEEK - 1))
def test_whatever_the_routes_a_red_incident_is_told_to_somebody_by_the_first_that_takes_it(
    routes: list[dict[str, Any]], subjects: list[Subject], minute: int
) -> None:
    named = [{"route": str(number), **route} for number, route in enumerate(routes)]
    settings = config(*named)
    book, now = Book(settings), at("2026-11-23 00:00") + minute * MINUTE
    assert minute_of(now, ZONE) == minute
    never = {words.split("'")[1] for place, words in checking.problems(settings) if "ever reaches" in words}
    for subject in subjects:
        found = book.called(subject, now)
        takes = [each for each in book.routes if each.takes(subject) and each.minutes >> minute & 1]
        first = next((n for n, each in enumerate(takes) if not each.route.go_on), len(takes) - 1)
        assert list(found.by) == [each.route.route for each in takes[: first + 1]]
        assert (subject.severity != "red") or len(found.channels) > 1
        assert bool(book.missed(subject) >> minute & 1) == (not takes)
        assert not never & set(found.by), "a route that is said never to be reached"


def incident(severity: Any = "red", kind: Any = "path", site: str = "1", name: str = "10.0.0.9") -> Incident:
    return Incident(
        id="000001", place=Place(kind, site, name), began_at=TUESDAY, opened_at=TUESDAY, severity=severity,
        reached=[site] if site else ["1", "2", "3"], told=severity == "red",
    )  # fmt: skip


def planner(*routes: dict[str, Any], **traits: Traits) -> Planner:
    return Planner(config(*routes), {name.replace("_", "-"): each for name, each in traits.items()})


def test_nobody_answers_and_the_next_one_is_called_until_somebody_does() -> None:
    plan = planner(DUTY)
    calls, ahead = plan.unanswered(incident(), TUESDAY, 0, TUESDAY + 9 * MINUTE)
    assert (calls, ahead) == ([], TUESDAY + 10 * MINUTE)
    told: list[tuple[int, set[str], int]] = []
    last = 0
    for minute in range(10, 200):
        calls, ahead = plan.unanswered(incident(), TUESDAY, last, TUESDAY + minute * MINUTE)
        if calls:
            assert {(call.what, call.loud, call.due_at) for call in calls} == {
                ("unanswered", True, TUESDAY + minute * MINUTE)
            }
            last = calls[0].at
            told.append((minute, {call.channel for call in calls}, calls[0].minutes))
    duty, both = {"two-phone", "two-mail", "log"}, {"lead", "two-phone", "two-mail", "log"}
    assert told == [(10, duty, 10), (30, both, 30), (90, both, 90), (150, both, 150)]
    assert ahead == TUESDAY + 210 * MINUTE


def test_steps_that_were_missed_while_nobody_could_call_are_called_once_to_all_of_them() -> None:
    calls, ahead = planner(DUTY).unanswered(incident(), TUESDAY, 0, TUESDAY + 1000 * MINUTE)
    assert sorted(call.channel for call in calls) == ["lead", "log", "two-mail", "two-phone"]
    assert {call.at for call in calls} == {TUESDAY + 990 * MINUTE}
    assert ahead == TUESDAY + 1050 * MINUTE
    assert planner(DUTY).unanswered(incident(), TUESDAY, TUESDAY + 990 * MINUTE, TUESDAY + 1000 * MINUTE)[0] == []


def test_who_heard_the_beginning_hears_the_end_even_out_of_hours() -> None:
    plan = planner({"route": "day", "hours": ["daily 07:00-17:00"], "tell": ["room"]}, DUTY | {"tell": ["two"]})
    (begin,) = [d for d in plan.plan(News(incident(), "opened", TUESDAY), {}, TUESDAY) if d.channel != "log"]
    assert (begin.channel, begin.loud, begin.due_at) == ("room", True, TUESDAY)
    ends = plan.plan(News(incident(), "resolved", NIGHT), {"room": ""}, NIGHT)
    assert [(end.channel, end.what) for end in ends] == [("room", "resolved")]


def test_an_incident_that_outgrows_its_route_is_told_as_new_to_those_whom_it_is_for_now() -> None:
    plan = planner({"route": "north", "areas": ["pop_a"], "tell": ["one"]}, DUTY, one_phone=Traits(updates=True))
    moved = incident(kind="upstream", site="", name="carrier")
    found = plan.plan(News(moved, "updated", TUESDAY), {"one-phone": "one", "lead": ""}, TUESDAY)
    assert [(d.channel, d.what, d.loud) for d in found] == [
        ("one-phone", "updated", False), ("two-phone", "opened", True), ("two-mail", "opened", True),
        ("room", "opened", True), ("log", "opened", True),
    ]  # fmt: skip


def test_an_incident_that_became_part_of_another_is_closed_quietly_where_it_was_told() -> None:
    plan = planner(DUTY, one_phone=Traits(updates=True), room=Traits(program=True))
    part = incident()
    part.resolved_at = TUESDAY
    found = plan.plan(News(part, "merged", TUESDAY), {"one-phone": "one", "room": "", "lead": ""}, TUESDAY)
    assert [(d.channel, d.what, d.loud) for d in found] == [("one-phone", "merged", False), ("room", "merged", False)]


def test_yellow_waits_for_the_digest_but_a_program_is_told_at_once() -> None:
    plan = planner(DUTY, room=Traits(updates=True, program=True))
    found = {d.channel: d for d in plan.plan(News(incident("yellow"), "digest", TUESDAY), {}, TUESDAY)}
    assert not any(each.loud for each in found.values())
    assert found["room"].due_at == TUESDAY
    assert found["two-phone"].due_at == at("2026-11-25 07:30")


def test_validate_reads_like_a_list_of_who_is_called() -> None:
    settings = config(
        {"route": "north", "areas": ["pop_a"], "severity": ["red"], "hours": ["daily 22:00-06:00"], "tell": ["one"]},
        DUTY,
    )
    assert checking.lines(settings, TUESDAY) == [
        "north: red in pop_a daily 22:00-06:00 → one",
        "rest: yellow or red → duty (two), room, then standard",
    ]

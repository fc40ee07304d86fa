"""What a reflector knows of its senders, packet by packet, and what it tells of them. No sockets: time is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.reflector.report import METRICS, MOST_STRANGERS, OTHERS, Reporter
from agents.reflector.sessions import SECOND, Count, Key, Sessions

if TYPE_CHECKING:
    from checks.result import Result

START = 1_800_000_000 * SECOND
HALF = SECOND // 2
SITE = Key("10.92.1.1", 40_000, 31_120)


@dataclass
class World:
    """A reflector's table, and the clocks around it: ours, and that of a sender that sends twice a second."""

    strict: bool = False
    most: int = 100
    ahead: int = 0  # of the sender's clock, nanoseconds
    now: int = START
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.most)

    def hear(self, *numbers: int, key: Key = SITE, stamp: int | None = None) -> list[int | None]:
        """Let packets come, one every half a second, stamped as they come unless `stamp` says otherwise."""
        answers = []
        for number in numbers:
            self.now += HALF
            sent = self.now + self.ahead if stamp is None else stamp
            here = self.now - START
            answers.append(self.sessions.hear(key, number, sent, now=self.now, here=here, strict=self.strict))
        return answers

    def count(self, key: Key = SITE) -> Count:
        return self.sessions[key].count

    def report(self, sites: dict[int, str] | None = None) -> dict[str, Result]:
        reporter = Reporter("data-centre", "reflector", 1)
        found = reporter.senders(self.sessions.items(), sites or {}, now=self.now, here=self.now - START)
        return {result.target: result for result in found}


def test_a_steady_sender_is_answered_with_numbers_of_the_reflectors_own() -> None:
    world = World()
    assert world.hear(0, 1, 2, 3) == [0, 1, 2, 3]
    assert world.count() == Count(received=4)


def test_a_gap_is_missing_and_does_not_count_in_the_reflectors_numbers() -> None:
    world = World()
    assert world.hear(0, 1, 5) == [0, 1, 2], "so the sender can tell in which direction packets were lost"
    assert world.count() == Count(received=3, missing=3)


def test_a_packet_that_comes_after_all_is_not_missing_but_reordered() -> None:
    world = World()
    world.hear(0, 3)
    world.hear(1, stamp=world.now - HALF)
    assert world.count() == Count(received=3, missing=1, reordered=1)
    world.hear(2, stamp=world.now - HALF)
    assert world.count() == Count(received=4, reordered=2)


def test_a_duplicate_is_answered_and_counted() -> None:
    world = World()
    first = world.now + HALF
    assert world.hear(0, 1) == [0, 1]
    assert world.hear(0, stamp=first) == [2]
    assert world.count() == Count(received=3, duplicate=1)


def test_a_sender_first_heard_in_the_middle_of_its_count_misses_nothing() -> None:
    for strict in (False, True):
        world = World(strict=strict)
        assert world.hear(5_000_000, 5_000_001) == [0, 1], "the reflector was restarted, the sender was not"
        assert world.count() == Count(received=2)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("before", [3, 1000, 5_000_000])
def test_a_sender_that_begins_anew_from_the_same_port_loses_nothing(before: int, strict: bool) -> None:  # noqa: FBT001
    world = World(strict=strict)
    world.hear(before - 1, before)
    assert world.hear(0, 1, 2) == [2, 3, 4]
    assert world.count() == Count(received=5)


def test_a_huge_jump_is_a_sender_that_counts_otherwise_and_no_loss() -> None:
    world = World()
    world.hear(0, 1, 2**32 - 1, 2**31, 5)
    assert world.count() == Count(received=5)


def test_a_very_late_packet_does_not_make_thousands_missing() -> None:
    """More than 64 numbers late, it can no longer be told from a duplicate; but it is no new beginning."""
    world = World()
    world.hear(*range(10, 200))
    world.hear(3, stamp=START)
    world.hear(200)
    assert world.count() == Count(received=192, duplicate=1)


@given(st.permutations(range(40)))
def test_in_whatever_order_packets_come_each_is_counted_once_and_none_is_missing(order: list[int]) -> None:
    world = World()
    for number in order:
        world.sessions.hear(SITE, number, START + number * HALF, now=START + 20 * SECOND, here=0, strict=False)
    count = world.count()
    assert count.received == 40
    assert count.duplicate == 0
    assert count.missing == 0
    assert count.reordered == sum(number < max(order[:at], default=-1) for at, number in enumerate(order))


@given(st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=120), st.booleans())
def test_whatever_is_heard_the_book_holds_together(heard: list[tuple[int, bool]], strict: bool) -> None:  # noqa: FBT001
    world = World(strict=strict)
    answers = []
    for number, old in heard:
        answers += world.hear(number, stamp=START - 3600 * SECOND if old else None)
    numbers = [answer for answer in answers if answer is not None]
    assert numbers == list(range(len(numbers))), "one number an answer, without gaps"
    assert len(numbers) + world.sessions.replayed == len(heard)
    assert not numbers or world.sessions[SITE].seen < 2**64


# --- replays, where senders prove who they are


def test_a_replay_is_not_answered() -> None:
    world = World(strict=True)
    stamps = [world.now + HALF * at for at in (1, 2, 3)]
    world.hear(0, 1, 2)
    for number, stamp in enumerate(stamps):
        assert world.hear(number, stamp=stamp) == [None]
    assert world.sessions.replayed == 3
    assert world.count() == Count(received=3)


@pytest.mark.parametrize("ahead_seconds", [0, 5, -5])
@pytest.mark.parametrize("key", [SITE._replace(host="203.0.113.9"), SITE._replace(port=41_000)])
def test_a_replay_from_another_address_is_not_answered_either(key: Key, ahead_seconds: int) -> None:
    """Whatever the sender's clock is off by, within reason: a recorded packet proves nothing."""
    world = World(strict=True, ahead=ahead_seconds * SECOND)
    stamps = []
    for number in range(40):
        stamps.append(world.now + HALF + world.ahead)
        world.hear(number)
    for number, stamp in enumerate(stamps):
        assert world.hear(number, key=key, stamp=stamp) == [None]
    assert len(world.sessions) == 1
    assert world.hear(40) == [40], "the real one is not disturbed"


def test_a_packet_recorded_in_an_earlier_session_is_a_replay_even_if_its_number_is_new() -> None:
    """The HMAC does not cover the port, so that a recording can be sent as if from the port of the present session."""
    world = World(strict=True)
    recorded = world.now + HALF * 101
    world.hear(*range(100))
    world.now += 60 * SECOND
    present = SITE._replace(port=40_001)
    world.hear(0, 1, 2, key=present)
    assert world.hear(90, key=present, stamp=recorded) == [None]
    assert world.hear(3, key=present) == [3]
    assert world.count(present) == Count(received=4)


def test_late_is_not_replayed() -> None:
    world = World(strict=True)
    late = world.now + HALF
    world.hear(1, 2, 3)
    assert world.hear(0, stamp=late) == [3]


def test_a_clock_set_back_a_little_shuts_nobody_out() -> None:
    world = World(strict=True, ahead=3 * SECOND)
    world.hear(0, 1, 2)
    world.ahead = 0
    assert world.hear(3, 4, 5) == [3, 4, 5]


def test_a_clock_that_was_far_ahead_and_is_put_right_shuts_nobody_out() -> None:
    world = World(strict=True, ahead=3600 * SECOND)
    world.hear(0, 1, 2)
    world.ahead = 0
    assert world.hear(3, 4) == [3, 4]
    assert world.hear(0, 1, key=SITE._replace(port=41_000)) == [0, 1], "nor in a new session"
    assert world.hear(5, stamp=world.now - 60 * SECOND) == [None], "and what was recorded since is a replay again"


# --- bounds


def test_the_table_is_bounded_and_the_longest_silent_gives_way() -> None:
    world = World(most=3)
    keys = [SITE._replace(port=port) for port in range(4)]
    for key in keys:
        world.hear(0, key=key)
    assert len(world.sessions) == 3
    assert keys[0] not in dict(world.sessions.items())


def test_a_flood_of_made_up_senders_does_not_push_out_the_real_one() -> None:
    world = World(most=20_000)
    for turn in range(300):
        world.hear(turn)
        for port in range(1000):
            made_up = Key(f"198.51.100.{turn % 250}", port, turn)
            world.sessions.hear(made_up, 0, world.now, now=world.now, here=world.now - START, strict=False)
    assert world.count() == Count(received=300)
    assert len(world.sessions) <= 20_000
    assert world.sessions.refused_new > 200_000


def test_a_clock_of_ours_that_is_set_back_keeps_no_new_sender_out() -> None:
    world = World()
    world.hear(0)
    sessions = world.sessions
    key = SITE._replace(port=41_000)
    assert sessions.hear(key, 0, START, now=START - 3600 * SECOND, here=world.now - START, strict=False) == 0


def test_who_is_silent_for_long_is_forgotten_and_may_come_again() -> None:
    world = World()
    world.hear(0, 1, 2)
    other = SITE._replace(port=41_000)
    world.now += 60 * SECOND
    world.hear(0, key=other)
    world.sessions.forget_silent(world.now - START, 30)
    assert dict(world.sessions.items()).keys() == {other}
    assert world.hear(3) == [0]


# --- the report


def test_a_report_says_what_was_heard_since_the_last_one() -> None:
    world = World()
    world.hear(0, 1, 4)
    world.hear(4, stamp=world.now)
    world.hear(6)
    point = world.report({31_120: "31120"})["31120"]
    assert (point.site, point.node, point.check) == ("data-centre", "reflector", "stamp_sender")
    assert point.metrics == {
        "packets_received": 5, "packets_missing": 3, "packets_duplicate": 1, "packets_reordered": 0,
        "silent_seconds": 0, "sessions": 1, "loss_forward_ratio": pytest.approx(3 / 7),
    }  # fmt: skip
    again = world.report({31_120: "31120"})["31120"].metrics
    assert again["packets_received"] == again["packets_missing"] == 0
    assert "loss_forward_ratio" not in again, "nothing came, and nothing is known to have been sent"


def test_silence_grows_from_report_to_report() -> None:
    world = World()
    world.hear(0)
    silent = []
    for _ in range(3):
        world.now += 5 * SECOND
        silent.append(world.report()[SITE.host].metrics["silent_seconds"])
    assert silent == [5, 10, 15]


def test_a_known_sender_never_heard_is_silent_since_the_reflector_started() -> None:
    world = World()
    world.now += 90 * SECOND
    metrics = world.report({31_117: "31117"})["31117"].metrics
    assert metrics["silent_seconds"] == pytest.approx(90, abs=1e-6)
    assert (metrics["packets_received"], metrics["sessions"]) == (0, 0)
    assert "loss_forward_ratio" not in metrics


def test_a_packet_that_comes_after_the_report_that_missed_it_makes_no_negative_loss() -> None:
    world = World()
    world.hear(0, 2)
    assert world.report()[SITE.host].metrics["packets_missing"] == 1
    world.hear(1, stamp=START)
    metrics = world.report()[SITE.host].metrics
    assert (metrics["packets_missing"], metrics["loss_forward_ratio"]) == (0, 0)
    world.hear(4)
    assert world.report()[SITE.host].metrics["packets_missing"] == 0, "one more than came was reported before"
    world.hear(6)
    assert world.report()[SITE.host].metrics["packets_missing"] == 1


def test_the_sessions_of_a_site_are_one_sender() -> None:
    world = World()
    world.hear(0, 1, key=SITE)
    world.hear(0, key=SITE._replace(port=41_000))
    metrics = world.report({31_120: "31120"})["31120"].metrics
    assert (metrics["packets_received"], metrics["sessions"]) == (3, 2)


def test_strangers_get_a_point_each_up_to_a_bound_and_the_latest_first() -> None:
    world = World(most=10_000)
    for at in range(2 * MOST_STRANGERS):
        world.hear(0, key=Key(f"198.51.{at // 256}.{at % 256}", 40_000, at + 1))
    world.hear(0)
    points = world.report({60_000: "31117"})
    assert len(points) == MOST_STRANGERS + 2
    assert {"31117", SITE.host, OTHERS} <= points.keys()
    assert points[OTHERS].metrics["sessions"] == MOST_STRANGERS + 1
    assert sum(point.metrics["packets_received"] for point in points.values()) == 2 * MOST_STRANGERS + 1


def test_every_metric_has_its_meaning() -> None:
    world = World()
    world.hear(0, 1)
    assert world.report()[SITE.host].metrics.keys() == METRICS.keys()

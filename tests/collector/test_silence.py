"""Silence: who sent heartbeats and does so no more, dated by deadlines and not by when somebody looked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.detect.silence import Node, Silence, SilenceChanged

SECOND = 1_000_000_000
GATEWAY, PRINTER = ("31120", "gateway"), ("31120", "printer")


def watched(*nodes: Node, timeout_seconds: float = 10, at: int = 0) -> Silence:
    silence = Silence(timeout_seconds)
    for node in nodes:
        silence.watch(node, at)
    return silence


def test_who_never_sent_a_heartbeat_is_never_missed() -> None:
    silence = watched(GATEWAY)
    silence.heard([GATEWAY, PRINTER], 5 * SECOND)
    assert [change.node for change in silence.tick(1_000 * SECOND)] == [GATEWAY]


def test_a_silence_is_told_once_and_dated_from_its_deadline_however_late_somebody_looks() -> None:
    silence = watched(GATEWAY)
    silence.heard([GATEWAY], 3 * SECOND)
    assert silence.tick(13 * SECOND - 1) == []
    assert silence.tick(500 * SECOND) == [
        SilenceChanged(GATEWAY, silent=True, heard_at=3 * SECOND, known_at=13 * SECOND)
    ]
    assert silence.tick(600 * SECOND) == []


def test_who_is_heard_again_says_since_when_it_was_not() -> None:
    silence = watched(GATEWAY)
    silence.tick(20 * SECOND)
    assert silence.heard([GATEWAY], 30 * SECOND) == [
        SilenceChanged(GATEWAY, silent=False, heard_at=0, known_at=30 * SECOND)
    ]
    assert silence.heard([GATEWAY], 31 * SECOND) == []


def test_while_the_collector_was_away_nobody_could_be_heard() -> None:
    silence = watched(GATEWAY)
    silence.resume(1_000 * SECOND)
    assert silence.tick(1_010 * SECOND - 1) == []
    assert silence.tick(1_010 * SECOND) == [SilenceChanged(GATEWAY, silent=True, heard_at=0, known_at=1_010 * SECOND)]


def test_a_clock_that_was_put_back_while_the_collector_was_away_hides_no_silence() -> None:
    silence = watched(GATEWAY, at=5_000 * SECOND)
    silence.resume(1_000 * SECOND)
    (change,) = silence.tick(1_011 * SECOND)
    assert change.known_at == 1_010 * SECOND
    assert change.heard_at <= change.known_at


def test_a_checkpoint_holds_all_of_it() -> None:
    silence = watched(GATEWAY, PRINTER)
    silence.heard([PRINTER], 5 * SECOND)
    silence.tick(11 * SECOND)
    silence.resume(12 * SECOND)
    again = Silence(10)
    again.load(silence.save())
    for now in (16 * SECOND, 22 * SECOND, 100 * SECOND):
        assert again.tick(now) == silence.tick(now)
    assert again.heard([GATEWAY, PRINTER], 101 * SECOND) == silence.heard([GATEWAY, PRINTER], 101 * SECOND)


nodes = st.sampled_from([("1", "a"), ("1", "b"), ("2", "a"), ("3", "a")])
arrivals = st.lists(st.tuples(st.integers(0, 100), nodes), max_size=40).map(sorted)


@given(arrivals, st.lists(st.integers(0, 120), max_size=40))
def test_how_often_somebody_looks_changes_neither_what_is_found_nor_its_order(
    heard: list[tuple[int, Node]], looks: list[int]
) -> None:
    def night(looks: list[int]) -> list[SilenceChanged]:
        silence, found = Silence(7), []
        moments = [(at, "heard", node) for at, node in heard] + [(at, "look", ("", "")) for at in looks]
        for at, what, node in sorted([*moments, (200, "look", ("", ""))]):
            found += silence.tick(at * SECOND)
            if what == "heard":
                silence.watch(node, at * SECOND)
                found += silence.heard([node], at * SECOND)
        return found

    assert night(looks) == night([])

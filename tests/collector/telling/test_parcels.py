"""What waits becomes messages: nothing twice, nothing lost, no end before its beginning, no phone ringing too often."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector.incident import Incident, Place
from collector.telling.parcels import Bucket, Parcel, Waiting, gather, parcels
from collector.telling.settings import Limit

NS = 1_000_000_000
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a machine that others use too
LOUD = ("opened", "reopened", "escalated", "unanswered", "due", "resolved")
QUIET = ("updated", "corrected", "eased")

ROWS = st.lists(
    st.tuples(
        st.integers(1, 4),  # which incident
        st.sampled_from([*LOUD, *QUIET, "digest"]),
        st.sampled_from([0, 0, 0, 100]),  # due now, or later
    ),
    max_size=14,
)


def waiting(rows: list[tuple[int, Any, int]], begun: frozenset[int] = frozenset()) -> list[Waiting]:
    return [
        Waiting(
            number,
            Incident(id=str(incident), place=Place("path", "1", "x"), began_at=1, opened_at=1),
            what,
            at=number,
            due_at=due_at,
            loud=what in LOUD,
            attempts=0,
            minutes=0,
            begun=incident in begun,
        )
        for number, (incident, what, due_at) in enumerate(rows)
    ]


@PATIENT
@given(ROWS, st.frozensets(st.integers(1, 4)), st.integers(0, 6))
def test_every_row_goes_in_one_message_or_waits_and_an_incident_goes_as_a_whole(
    rows: list[tuple[int, Any, int]], begun: frozenset[int], free: int
) -> None:
    listed = waiting(rows, begun)
    items, digest = gather(listed, now=50)
    sent = parcels(items, digest, free)
    gone = [row.id for parcel in sent for row in parcel.rows]
    assert len(gone) == len(set(gone))
    for row in listed:
        mates = [
            r for r in listed if r.incident.id == row.incident.id and (r.what == "digest") == (row.what == "digest")
        ]
        assert (row.id in gone) == all(mate.id in gone for mate in mates)
        if any(mate.due_at > 50 for mate in mates):
            assert row.id not in gone
    rings = [parcel for parcel in sent if parcel.loud]
    assert len(rings) <= free
    if free:
        ready = {row.id for item in items for row in item.rows if item.loud}
        assert ready <= set(gone), "what may ring, rings"
    assert sum(parcel.digest for parcel in sent) <= 1
    assert not any(parcel.loud and parcel.digest for parcel in sent)


@PATIENT
@given(ROWS, st.frozensets(st.integers(1, 4)))
def test_no_end_is_told_to_who_heard_no_beginning(rows: list[tuple[int, Any, int]], begun: frozenset[int]) -> None:
    items, _ = gather(waiting(rows, begun), now=1000)
    for item in items:
        known = int(item.incident.id) in begun
        assert item.what != "resolved" or known
        assert item.what != "over" or not known
        assert item.what not in ("reopened", "escalated", "due") or known
        assert item.loud == any(row.loud for row in item.rows)


def test_the_last_word_on_an_incident_is_what_is_told() -> None:
    def told(*whats: str, begun: bool) -> str:
        rows = [(1, what, 0) for what in whats]
        ((item,), _) = gather(waiting(rows, frozenset([1] if begun else [])), now=1)
        return item.what

    assert told("opened", "updated", begun=False) == "opened"
    assert told("opened", "resolved", begun=False) == "over"
    assert told("opened", "resolved", "reopened", begun=False) == "opened"
    assert told("unanswered", "resolved", begun=True) == "resolved"
    assert told("escalated", "corrected", begun=True) == "escalated"
    assert told("updated", "corrected", begun=True) == "corrected"
    assert told("unanswered", begun=False) == "unanswered"


@PATIENT
@given(
    st.integers(1, 8), st.integers(1, 600), st.lists(st.tuples(st.integers(0, 900), st.integers(1, 20)), max_size=60)
)
def test_however_much_there_is_nobodys_phone_rings_more_often_than_it_may(
    messages: int, seconds: int, story: list[tuple[int, int]]
) -> None:
    bucket = Bucket(Limit(messages=messages, seconds=seconds))
    now, waits, rang = 1_000 * NS, 0, []
    for pause, new in story:
        now += pause * NS
        waits += new
        free = bucket.free(now)
        assert (free == 0) == (bucket.free_at(now) > now)
        count = min(waits, 1) if waits > free else waits  # a summary, or one each
        for _ in range(count if free else 0):
            bucket.ring(now)
            rang.append(now)
            waits = 0
    for index, first in enumerate(rang):
        for count, last in enumerate(rang[index:], 1):
            assert count <= messages + (last - first) // (seconds * NS)
    again = Bucket(Limit(messages=messages, seconds=seconds), [at for at in rang if at > now - bucket.memory])
    assert again.free(now) >= bucket.free(now), "a restart silences nobody"


def test_a_parcel_rings_if_anything_in_it_does() -> None:
    items, _ = gather(waiting([(1, "updated", 0), (2, "opened", 0)]), now=1)
    assert Parcel(tuple(items)).loud
    assert [parcel.loud for parcel in parcels(items, [], 1)] == [True, False]

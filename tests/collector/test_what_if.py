"""What another configuration would have rung: from an export, from the journal, at any size, and the difference."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.columns import Decoder
from collector.incident import Place
from collector.recording import Lines, Points
from collector.what_if import Told, differences
from tests.running import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.running import RunningCollector

START = 1_790_000_000
NS = 1_000_000_000
STRICT = "{check: tcp_connect, metric: success, above: false, red: {enter: 0.5, leave: 0.5}, k: 1, n: 1}"
SLOW = "{check: tcp_connect, metric: success, above: false, red: {enter: 0.5, leave: 0.5}, k: 6, n: 6}"


def line(success: int, second: float, site: str = "31120") -> str:
    return f"tcp_connect,node=gw,site={site},target=10.0.0.1:443 success={success} {START * NS + int(second * NS)}"


BLIP = [line(n != 30, n, "1") for n in range(100)]  # one attempt fails
OUTAGE = [line(not 20 <= n < 40, n, "2") for n in range(100)]


def config(path: Path, limit: str = "", **more: Any) -> Path:
    path.write_text(f"limits: [{limit}]\n" + "".join(f"{k}: {json.dumps(v)}\n" for k, v in more.items()))
    return path


def replay(*words: object, given_: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "nhip", "collector", "replay", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, input=given_, capture_output=True, check=False, timeout=100)


def rows(*words: object) -> list[dict[str, Any]]:
    done = replay(*words, "--format", "json")
    assert done.returncode == 0, done.stderr
    return [json.loads(text) for text in done.stdout.splitlines()]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "night.lp"
    path.write_text("\n".join([*BLIP, *OUTAGE]))
    return path


def test_what_would_ring_too_and_what_would_ring_later_is_told_apart(tmp_path: Path, recording: Path) -> None:
    old, new = config(tmp_path / "old.yml"), config(tmp_path / "new.yml", STRICT)
    found = rows(recording, "--config", new, "--against", old)
    assert [(row["type"], row.get("what")) for row in found] == [("difference", "only_new"), ("summary", None)]
    assert (found[0]["new"]["site"], "old" in found[0]) == ("1", False)
    assert found[-1] == {"type": "summary", "rang_old": 1, "rang_new": 2, "only_old": 0, "only_new": 1, "changed": 0}
    later, *_ = rows(recording, "--config", config(tmp_path / "slow.yml", SLOW), "--against", old)
    assert (later["what"], later["changes"][0]) == ("changed", "rings 4 s later")


def test_the_other_way_round_it_rings_with_the_old_one_alone(tmp_path: Path, recording: Path) -> None:
    old, new = config(tmp_path / "old.yml"), config(tmp_path / "new.yml", STRICT)
    text = replay(recording, "--config", old, "--against", new).stdout.decode()
    assert text.startswith(f"rang: 2 times with {new}, 1 times with {old}\n")
    assert f"rings with {new} alone: 1\n" in text
    assert "  red     1: Service 10.0.0.1:443 does not work" in text


def test_two_that_are_alike_differ_in_nothing(tmp_path: Path, recording: Path) -> None:
    same = config(tmp_path / "same.yml")
    (summary,) = rows(recording, "--config", same, "--against", same)
    assert (summary["rang_old"], summary["rang_new"]) == (1, 1)


def test_a_packed_export_is_read_and_incidents_alone_are_printed(tmp_path: Path) -> None:
    path = tmp_path / "night.lp.gz"
    path.write_bytes(gzip.compress("\n".join(OUTAGE).encode()))
    assert [(row["type"], row["state"]) for row in rows(path, "--incidents")] == [
        ("incident", "open"), ("incident", "resolved"),
    ]  # fmt: skip


def test_a_part_of_a_recording_is_judged_alone(recording: Path) -> None:
    assert rows(recording, "--incidents", "--to", "2026-09-21T21:13:35+07:00") == []
    assert len(rows(recording, "--incidents", "--from", "2026-09-21T21:13:35+07:00")) == 2


def test_a_step_changes_when_something_is_known_and_not_what(recording: Path) -> None:
    exact, coarse = (rows(recording, "--incidents", "--step", step) for step in ("0", "5"))
    assert [row["cause"] for row in coarse] == [row["cause"] for row in exact]
    assert all(0 <= after["at"] - before["at"] <= 5 * NS for before, after in zip(exact, coarse, strict=True))


def test_the_journal_of_a_running_collector_rings_again_as_it_rang(
    collector: RunningCollector, until_true: Callable[..., Any], tmp_path: Path
) -> None:
    writer, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    for value in (1, 1, 0, 0, 0, 1, 1):
        collector.write(f"tcp_connect,node=gw,target=x:1 success={value} {time.time_ns()}", writer)
    # What comes late is history there as it was here: it rings nobody.
    late = [f"tcp_connect,node=gw,target=late:1 success=0 {time.time_ns() - 600 * NS + n}" for n in range(5)]
    collector.write("\n".join(late), writer, Nhip_Sent_At=str(time.time_ns()))
    rang = until_true(lambda: collector.get("/api/v1/incidents?state=resolved", viewer)["incidents"])
    found = rows("--data", collector.folder / "data", "--incidents")
    assert [(row["id"], row["state"]) for row in found] == [("000001", "open"), ("000001", "resolved")]
    assert [one["id"] for one in rang] == ["000001"]
    slow = config(tmp_path / "new.yml", SLOW, data=str(collector.folder / "data"))
    difference, summary = rows("--config", slow, "--against", collector.config)
    assert (difference["what"], summary["rang_old"], summary["rang_new"]) == ("only_old", 1, 0)
    assert replay("--data", collector.folder / "data", "--from", "1h").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to judge: name files, --data DIR, or a --config that says where the journal is"),
        (["-", "--against", "x.yml"], "--against needs --config NEW"),
        (["-", "--step", "60"], "'60' is not between 0 and 5 seconds"),
        (["-", "--from", "yesterday"], "--from: 'yesterday' is no time: write 6h, 30m or 2d (ago)"),
        (["--data", "/no/such"], "/no/such/journal.db: cannot be opened: does the folder exist"),
        (["broken.gz"], "broken.gz: No such file or directory"),
    ],
)
def test_what_cannot_be_done_is_said(words: list[str], said: str) -> None:
    done = replay(*words)
    assert done.returncode != 0
    assert said in done.stderr.decode()


def test_what_is_no_archive_is_said_of_that_file(tmp_path: Path) -> None:
    path = tmp_path / "night.gz"
    path.write_bytes(b"no archive")
    done = replay(path)
    assert (done.returncode, "Not a gzipped file" in done.stderr.decode()) == (1, True)


# Points, whatever their order and their number.


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9_000), st.floats(0, 1)), min_size=1), st.integers(0, 40))
def test_points_arrive_by_their_instants_whether_they_fit_into_memory_or_not(
    given_: list[tuple[int, int, float]], most: int
) -> None:
    text = "\n".join(f"m,site={site} v={value} {second * NS}" for site, second, value in given_).encode()
    points = Points(most)
    try:
        for part in text.split(b"\n"):
            points.add(Decoder(points.catalogue).decode(part, arrived_at=0)[0])
        arrivals = list(points.arrivals())
        wanted = sorted((second * NS, line_) for (_, second, _), line_ in zip(given_, text.split(b"\n"), strict=True))
        exact = list(Lines(wanted).arrivals())
        assert [each.at for each in arrivals] == [each.at for each in exact]
        for one, other in zip(arrivals, exact, strict=True):
            assert one.columns is not None
            assert other.columns is not None
            assert sorted(one.columns.values) == sorted(other.columns.values)
            assert len(one.columns.series) == len(set(other.columns.series.tolist()))
        points.step = 60 * NS
        assert sum(len(each.columns.values) for each in points.arrivals() if each.columns) == len(given_)
    finally:
        points.close()


def test_a_reason_travels_with_its_instant() -> None:
    points = Points()
    body = b'm,site=1 reason="no route" 5000000000\nm,site=1 v=1 5000000000'
    points.add(Decoder(points.catalogue).decode(body, arrived_at=0)[0])
    (arrival,) = points.arrivals()
    assert arrival.columns is not None
    assert arrival.columns.texts == [(0, 5 * NS, "reason", "no route")]


# Pairing.


def told(site: str, rang: int | None, over: int | None = None, *, name: str = "", severity: str = "red") -> Told:
    place = Place("service", site, name or "web")
    at = (rang or 10) * NS
    over = None if over is None else over * NS
    return Told("1", place, at, at, severity, "service", {"en": name}, [site], over, None if rang is None else at, 1)


def test_what_rang_in_neither_run_is_no_difference() -> None:
    assert differences([told("1", None)], [told("1", None), told("2", None, severity="yellow")]) == []


def test_a_fault_that_only_warns_now_no_longer_rings() -> None:
    (found,) = differences([told("1", 10)], [told("1", None, severity="yellow")])
    assert (found.what, found.changes) == ("only_old", ["rings no more", "is yellow, was red"])


def test_one_fault_at_another_place_is_told_otherwise_and_not_twice() -> None:
    (found,) = differences([told("1", 10, 60, name="web")], [told("1", 20, 60, name="mail")])
    assert (found.what, found.changes) == ("changed", ["rings 10 s later", "is told as: mail"])


def test_two_faults_far_apart_are_two() -> None:
    found = differences([told("1", 10, 20)], [told("1", 5000, 5010)])
    assert [each.what for each in found] == ["only_old", "only_new"]


@given(
    st.lists(
        st.builds(told, st.sampled_from("123"), st.none() | st.integers(1, 5000), st.none() | st.integers(5000, 9000)),
        max_size=8,
    )
)
def test_a_run_differs_from_itself_in_nothing(runs: list[Told]) -> None:
    assert differences(runs, list(runs)) == []

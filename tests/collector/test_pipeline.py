"""From what arrived to verdicts, through kills, lost checkpoints and full disks: nothing twice, nothing never."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.catalogue import Catalogue
from collector.clock import SteadyClock
from collector.columns import Decoder
from collector.config import Config, Service
from collector.database import incidents, news, open_database, outbox, timeline
from collector.engine import Engine
from collector.journal import Entry, Journal
from collector.measures import Measures
from collector.pipeline import Arrival, Pipeline
from collector.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collector.storing import Storing
    from tests.running import RunningCollector

Start = Callable[..., "RunningCollector"]
Until = Callable[..., Any]
SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND


class Nowhere:
    """Stores nothing: these stories are about verdicts."""

    def put(self, *_: object) -> None:
        """Take columns."""


class Life:
    """One life of a judge on a folder, driven a step at a time and ended wherever the story wants."""

    def __init__(self, folder: Path, now: int, services: list[Service] | None = None) -> None:
        self.now = now
        self.folder = folder
        self.journal = Journal(folder / "journal.db")
        self.catalogue = Catalogue()
        self.journal.restore(self.catalogue)
        config = Config(silence_seconds=5, restart_grace_seconds=5, stale_seconds=20, services=services or [])
        self.engine = Engine(config, self.catalogue)
        self.decoder = Decoder(self.catalogue)
        self.database = open_database(folder / "collector.db")
        self.pipeline = Pipeline(
            journal=self.journal,
            catalogue=self.catalogue,
            decoder=self.decoder,
            engine=self.engine,
            record=Record(self.database),
            storing=cast("Storing", Nowhere()),
            measures=Measures(),
            clock=SteadyClock(lambda: self.now, lambda: self.now),
            checkpoint_path=folder / "judge.npz",
        )
        self.pipeline._thread.start = lambda: None  # type: ignore[method-assign]  # the story takes the thread's steps
        self.pipeline.start()

    def journalled(self, line: str) -> list[Any]:
        entry = Entry(arrived_at=self.now, body=line.encode())
        columns, errors = self.decoder.decode(entry.body, arrived_at=self.now)
        assert errors == []
        arrival = Arrival(entry, columns)
        return [arrival, self.pipeline._append([arrival])[0]]

    def judged(self, arrival: Arrival, position: int) -> None:
        entry = Entry(arrived_at=arrival.entry.arrived_at, body=arrival.entry.body, position=position)
        self.pipeline._judge(entry, arrival.columns)

    def write(self, line: str) -> None:
        self.judged(*self.journalled(line))
        self.pipeline._write()

    def tick(self) -> None:
        self.pipeline._tell_tick(self.now)
        self.pipeline._write()

    def checkpoint(self) -> None:
        self.pipeline._save()

    def killed(self) -> None:
        self.journal.close()
        self.database.dispose()

    def rows(self, table: sa.Table, *columns: str) -> list[tuple[Any, ...]]:
        query = sa.select(*(table.c[name] for name in columns)).order_by(*(table.c[name] for name in columns))
        with self.database.connect() as db:
            return [tuple(row) for row in db.execute(query)]


def tcp(target: str, success: int, at: int) -> str:
    return f"tcp_connect,node=gw,site=1,target={target}:443 success={success} {at}"


def beat(node: str, at: int) -> str:
    return f"agent,node={node},site=1 uptime_seconds=1 {at}"


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nhip-test-") as name:
        yield Path(name)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.booleans(),
        st.sampled_from(["", "", "", "", "journalled", "judged", "written", "checkpoint"]),
    ),
    min_size=1,
    max_size=25,
)


def night(folder: Path, steps: list[tuple[str, bool, str]], *, kills: bool) -> dict[str, list[tuple[Any, ...]]]:
    """Live through `steps` a second each, killed where they say so; return what is written down at the end."""
    life = Life(folder, START)
    for number, (target, success, killed) in enumerate(steps):
        life.now = START + (number + 1) * SECOND
        arrival, position = life.journalled(tcp(target, int(success), life.now))
        if not (kills and killed == "journalled"):
            life.judged(arrival, position)
        if not (kills and killed in ("journalled", "judged")):
            life.pipeline._write()
        if killed == "checkpoint":
            life.checkpoint()
        elif kills and killed:
            life.killed()
            life = Life(folder, life.now)
    told = {
        "incidents": life.rows(incidents, "id", "place", "state", "began_at", "opened_at", "resolved_at"),
        "timeline": life.rows(timeline, "incident", "at", "kind", "about"),
        "news": life.rows(news, "incident", "what"),
    }
    life.killed()
    return told


@pytest.mark.timeout(400)  # on a machine that does much else
@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_wherever_it_is_killed_it_finds_what_an_undisturbed_judge_finds_each_thing_once(
    steps: list[tuple[str, bool, str]],
) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        assert night(Path(one), steps, kills=True) == night(Path(other), steps, kills=False)


MOMENTS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "gw", "pc", "tv", "nothing"]), st.booleans(),
        st.sampled_from([1, 1, 2, 7]), st.sampled_from(["", "", "", "killed", "unjudged", "checkpoint"]),
    ),
    min_size=1,
    max_size=25,
)  # fmt: skip


@pytest.mark.timeout(400)  # on a machine that does much else
@settings(max_examples=25, deadline=None)
@given(MOMENTS)
def test_whatever_time_alone_has_found_keeps_its_number_and_its_place_through_kills(
    moments: list[tuple[str, bool, int, str]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        life = Life(Path(name), START)
        seen: dict[str, tuple[str, str]] = {}
        for who, success, seconds, fate in moments:
            life.now += seconds * SECOND
            line = tcp(who, int(success), life.now) if who in ("a", "b") else beat(who, life.now)
            arrival, position = life.journalled(line) if who != "nothing" else (None, None)
            if arrival is not None and fate != "unjudged":
                life.judged(arrival, position)
            life.pipeline._write()
            if fate != "unjudged":
                life.tick()
            if fate == "checkpoint":
                life.checkpoint()
            elif fate:
                life.killed()
                life = Life(Path(name), life.now + SECOND)
            for incident, kind, place in life.rows(incidents, "id", "kind", "place"):
                before = seen.get(incident, (kind, place))
                assert before == (kind, place) or kind == "silence", "one number, two incidents"
                seen[incident] = (kind, place)
            open_here = {(i.id, i.place.name) for i in life.engine.incidents.open.values()}
            recorded = life.rows(incidents, "id", "place", "state")
            assert open_here == {(number, place) for number, place, state in recorded if state == "open"}
        told = life.rows(news, "incident", "what", "at")
        assert len(told) == len(set(told))
        assert {number for number, _, _ in told} == {number for (number,) in life.rows(incidents, "id")}
        life.killed()


def test_a_silence_that_was_told_before_the_kill_ends_when_the_node_is_heard_checkpoint_or_not(folder: Path) -> None:
    for lost in (False, True):
        here = folder / str(lost)
        here.mkdir()
        life = Life(here, START)
        life.write(beat("gw", life.now))
        life.now += 20 * SECOND
        life.tick()
        life.killed()
        if lost:
            (here / "judge.npz").unlink()
        life = Life(here, life.now + SECOND)
        assert life.rows(incidents, "id", "state") == [("000001", "open")]
        life.now += 60 * SECOND
        life.tick()
        life.write(beat("gw", life.now))
        assert life.rows(incidents, "id", "state") == [("000001", "resolved")]
        life.killed()


def test_what_fails_right_after_a_kill_is_told_under_a_number_of_its_own(folder: Path) -> None:
    life = Life(folder, START)
    life.write(beat("gw", life.now))
    life.now += 20 * SECOND
    life.tick()  # a silence: found by time alone, so not in the journal
    life.killed()
    life = Life(folder, life.now + SECOND)
    for _ in range(2):
        life.now += SECOND
        life.write(tcp("a", 0, life.now))
    assert life.rows(incidents, "id", "place") == [("000001", "gw"), ("000002", "a:443")]
    assert ("000002", "opened") in life.rows(news, "incident", "what")
    life.killed()


def test_a_lost_checkpoint_goes_on_with_the_open_incident_rings_no_second_time_and_misses_no_silence(
    folder: Path,
) -> None:
    life = Life(folder, START)
    for _ in range(3):
        life.now += SECOND
        life.write(tcp("a", 0, life.now))
        life.write(beat("gw", life.now))
    life.killed()
    (folder / "judge.npz").write_bytes(b"half a checkpo")
    life = Life(folder, life.now + SECOND)
    for success in (0, 0, 0, 1, 1, 1):
        life.now += SECOND
        life.write(tcp("a", success, life.now))
        life.tick()
    assert life.rows(incidents, "id", "place", "state") == [("000001", "a:443", "resolved")]
    life.now += 60 * SECOND
    life.tick()
    assert life.rows(incidents, "id", "kind", "state")[1:] == [("000002", "silence", "open")]
    assert life.rows(news, "incident", "what") == [
        ("000001", "opened"),
        ("000001", "resolved"),
        ("000002", "opened"),
    ]
    life.killed()


def test_a_service_that_gets_its_name_while_its_incident_is_open_still_ends_it(folder: Path) -> None:
    life = Life(folder, START)
    for success in (0, 0):
        life.now += SECOND
        life.write(tcp("a", success, life.now))
    life.checkpoint()
    life.killed()
    life = Life(folder, life.now + SECOND, [Service(service="Portal", targets=["a:443"])])
    for success in (0, 1, 1):
        life.now += SECOND
        life.write(tcp("a", success, life.now))
    assert life.rows(incidents, "id", "place", "state") == [("000001", "a:443", "resolved")]
    for success in (0, 0):
        life.now += SECOND
        life.write(tcp("a", success, life.now))
    assert life.rows(incidents, "id", "place", "state")[1:] == [("000002", "Portal", "open")]
    life.killed()


def test_a_verdict_that_went_stale_is_written_down_once_although_it_is_judged_again(folder: Path) -> None:
    life = Life(folder, START)
    for _ in range(2):
        life.now += SECOND
        life.write(tcp("a", 0, life.now))
    for _ in range(40):
        life.now += SECOND
        life.write(tcp("b", 1, life.now))
        life.tick()
    before = life.rows(timeline, "incident", "at", "kind", "about")
    assert [row[2] for row in before].count("resolved") == 1
    life.killed()
    life = Life(folder, life.now + SECOND)
    assert life.rows(timeline, "incident", "at", "kind", "about") == before
    life.killed()


# From here on: real processes.


def fail(collector: RunningCollector, site: str, target: str, success: int = 0, times: int = 2) -> None:
    for _ in range(times):
        answer = collector.write(tcp(target, success, time.time_ns()).replace(",site=1", ""), site)
        assert answer.status == 204, answer.body


def told(collector: RunningCollector, viewer: str) -> list[tuple[str, str, str]]:
    found = collector.get("/api/v1/incidents", viewer)["incidents"]
    return sorted((i["id"], i["cause"]["place"], i["state"]) for i in found)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_process_killed_at_random_while_it_is_written_to_finds_everything_once(
    configured: Start, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311  (a story that can be told again)
    collector = configured()
    site, viewer = collector.token("--site", "1"), collector.token("--role", "viewer")
    story = [(chance.choice("abcd"), int(chance.random() < 0.4)) for _ in range(60)]
    kills = set(chance.sample(range(60), 3))
    for number, (target, success) in enumerate(story):
        # As an agent does: the same batch again until it is acknowledged.
        line, headers = tcp(target, success, time.time_ns()), {"Nhip_Agent": "x", "Nhip_Sequence": str(number)}
        if number in kills:
            killer = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    f"import os,time; time.sleep({chance.random() / 50}); os.kill({collector.process.pid}, 9)",
                ]  # type: ignore[union-attr]
            )
        while True:
            try:
                if collector.write(line, site, **headers).status == 204:
                    break
            except OSError:
                assert collector.process is not None
                collector.process.wait(20)
                collector.kill()
                collector.start()
        if number in kills:
            killer.wait()
            if collector.process is not None and collector.process.poll() is not None:
                collector.kill()
                collector.start()
    undisturbed = Path(tempfile.mkdtemp(dir=tmp_path))
    life = Life(undisturbed, START)
    for number, (target, success) in enumerate(story):
        life.now = START + number * SECOND // 100
        life.write(tcp(target, success, life.now))
    assert told(collector, viewer) == life.rows(incidents, "id", "place", "state")
    life.killed()
    collector.stop()
    database = open_database(collector.folder / "data" / "collector.db")
    with database.connect() as db:
        sent = [tuple(row) for row in db.execute(sa.select(outbox.c.incident, outbox.c.what, outbox.c.at))]
        lines = db.execute(sa.select(timeline.c.incident).where(timeline.c.kind == "opened")).scalars().all()
    assert len(sent) == len(set(sent))
    assert len(lines) == len(set(lines))


def test_late_data_is_history_it_opens_nothing_ends_nothing_and_rings_nobody(
    configured: Start, until_true: Until
) -> None:
    collector = configured()
    site, viewer = collector.token("--site", "1"), collector.token("--role", "viewer")
    then = time.time_ns() - 3600 * SECOND
    for number in range(5):
        at = then + number * SECOND
        assert collector.write(tcp("late", 0, at), site).status == 204
        assert collector.write(tcp("spooled", 0, at), site, Nhip_Sent_At=str(time.time_ns())).status == 204
    fail(collector, site, "now")
    for number in range(5):
        assert collector.write(tcp("now", 1, then + number * SECOND), site).status == 204
    assert told(collector, viewer) == [("000001", "now:443", "open")]
    query = "/api/v1/series?site=1&check=tcp_connect&target={}:443&metric=success&from=-2h&step=60"
    for target in ("late", "spooled"):
        until_true(lambda target=target: collector.get(query.format(target), viewer)["series"][0]["rows"])
    collector.stop()
    assert collector.log().count("nhip.told") == 1


def test_an_agent_whose_clock_is_an_hour_behind_is_judged_all_the_same(configured: Start) -> None:
    collector = configured()
    site, viewer = collector.token("--site", "1"), collector.token("--role", "viewer")
    for _ in range(2):
        at = time.time_ns() - 3600 * SECOND
        assert collector.write(tcp("a", 0, at), site, Nhip_Sent_At=str(at + SECOND)).status == 204
    assert told(collector, viewer) == [("000001", "a:443", "open")]


def test_two_collectors_on_one_folder_are_one_clear_line(configured: Start) -> None:
    collector = configured()
    assert collector.process is not None
    command = [sys.executable, "-m", "nhip", "collector", "serve", "--config", str(collector.config)]
    config = collector.config.read_text(encoding="utf-8").replace(f":{collector.port}", ":0")
    collector.config.write_text(config, encoding="utf-8")
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr == (
        f"nhip collector: {collector.folder / 'data'} is in use by another collector (process {collector.process.pid}):"
        " stop that, or choose another folder\n"
    )
    assert collector.ask("GET", "/health").json["status"] == "pass"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a file system of 12 megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(folder: Path) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 4096)
            except OSError:
                return ballast


def test_on_a_full_disk_the_writer_hears_503_and_with_room_everything_goes_on(
    small_disk: Path, configured: Start, until_true: Until
) -> None:
    collector = configured(data=str(small_disk / "data"))
    shutil.rmtree(collector.folder / "data", ignore_errors=True)
    (collector.folder / "data").symlink_to(small_disk / "data")
    site, viewer = collector.token("--site", "1"), collector.token("--role", "viewer")
    fail(collector, site, "before")
    until_true(lambda: told(collector, viewer), 20, "the incident before the disk is full")
    kept = 2
    ballast = fill(small_disk)
    refused = None
    for number in range(400):
        line = f"icmp_echo,node=gw,target=t{number} rtt_median_seconds=0.1 {time.time_ns()}\n" * 300
        answer = collector.write(line, site)
        if answer.status == 503:
            refused = answer
            break
        assert answer.status == 204, answer.body
        kept += 1
    assert refused is not None
    assert "the disk" in refused.json["message"]
    assert refused.headers["retry-after"] == "5"
    assert told(collector, viewer) == [("000001", "before:443", "open")]
    time.sleep(2)  # long enough for the store to have met the full disk too
    ballast.unlink()
    until_true(lambda: collector.write(tcp("after", 0, time.time_ns()), site).status == 204, what="taking in again")
    fail(collector, site, "after")
    until_true(lambda: told(collector, viewer)[1:] == [("000002", "after:443", "open")], what="judging again")
    query = "/api/v1/series?site=1&check=tcp_connect&target=after:443&metric=success&from=-2m&step=10"
    until_true(lambda: collector.get(query, viewer)["series"][0]["rows"], 30, "storing again")
    until_true(lambda: collector.ask("GET", "/health").json["status"] == "pass", what="health")
    collector.kill()
    collector.start()
    assert told(collector, viewer) == [("000001", "before:443", "open"), ("000002", "after:443", "open")]


def test_started_on_a_full_disk_it_says_so_in_one_line(small_disk: Path, tmp_path: Path) -> None:
    config = tmp_path / "collector.yml"
    (small_disk / "data").mkdir()
    config.write_text(f"listen: 127.0.0.1:0\ndata: {small_disk / 'data'}\n", encoding="utf-8")
    fill(small_disk)
    command = [sys.executable, "-m", "nhip", "collector", "serve", "--config", str(config)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (found.returncode, found.stdout) == (1, "")
    (line,) = found.stderr.splitlines()
    assert line.startswith(f"nhip collector: {small_disk / 'data'}")
    assert "the disk is full" in line

"""The dead-man signal stays away when anything stands still; the drill proves that somebody rings then."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from collector.config import Config
from collector.database import open_database
from collector.telling.address import Address, AddressError
from collector.telling.dead_man import DeadMan
from collector.telling.drill import lacking, next_alarm
from collector.telling.drill_office import DrillError, DrillOffice
from collector.telling.routes import Book
from collector.telling.settings import DeadMan as DeadManSettings
from collector.telling.settings import Drill as DrillSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.running import Answer, RunningCollector

Start = Callable[..., "RunningCollector"]
Until = Callable[..., Any]
NS = 1_000_000_000
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
SECRET = "sEcReT-0815"


def test_no_signal_goes_out_while_nothing_can_be_journalled_and_health_says_so(
    configured: Start, outside: Outside, url_file: Path, until_true: Until
) -> None:
    collector = configured(dead_man={"url_file": str(url_file), "every_seconds": 1})
    until_true(lambda: outside.heard, what="the signal")
    lock = sqlite3.connect(collector.folder / "data" / "journal.db", isolation_level=None)
    lock.execute("begin immediate")  # as a disk that takes nothing any more
    try:
        until_true(lambda: "dead_man" in collector.ask("GET", "/health").json, 60, "what health says")
        assert "journalled" in collector.ask("GET", "/health").json["dead_man"]
        count = len(outside.heard)
        time.sleep(3)  # what must not happen has no event to wait for
        assert len(outside.heard) == count
    finally:
        lock.execute("rollback")
        lock.close()
    until_true(lambda: len(outside.heard) > count, 60, "the signal again")


def post(collector: RunningCollector, path: str, content: dict[str, Any], token: str) -> Answer:
    return collector.ask("POST", path, json.dumps(content).encode(), token=token, Content_Type="application/json")


class Outside:
    """The one outside: counts signals, and can be away."""

    def __init__(self) -> None:
        outside = self
        self.status = 200
        self.heard: list[tuple[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outside.heard.append((self.command, self.path))
                self.send_response(outside.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET  # noqa: N815  (the standard library's name)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/ping/{SECRET}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def outside() -> Iterator[Outside]:
    one = Outside()
    yield one
    one.stop()


@pytest.fixture
def url_file(tmp_path: Path, outside: Outside) -> Path:
    path = tmp_path / "dead-man.url"
    path.write_text(outside.url + "\n")
    return path


def test_the_signal_goes_out_only_while_everything_has_moved(outside: Outside, url_file: Path) -> None:
    still: list[str] = []
    settings = DeadManSettings(url_file=url_file, method="POST")
    dead_man = DeadMan(settings, Address(url_file), [lambda: None, lambda: still[0] if still else None])
    assert dead_man.turn()
    still.append("nothing has been judged for 10 s")
    assert not dead_man.turn()
    assert dead_man.problem == "nothing has been judged for 10 s"
    still.clear()
    outside.status = 500
    assert not dead_man.turn()
    assert dead_man.problem == "was not taken: HTTP 500"
    assert outside.heard == [("POST", f"/ping/{SECRET}")] * 2


def test_a_proof_that_fails_proves_nothing(outside: Outside, url_file: Path) -> None:
    def broken() -> str | None:
        raise OSError("disk gone")

    dead_man = DeadMan(DeadManSettings(url_file=url_file), Address(url_file), [broken])
    assert not dead_man.turn()
    assert (dead_man.problem, outside.heard) == ("OSError while asking whether all moves", [])


@pytest.mark.parametrize("text", ["", "mailto://x", "http://", "http://a:b:c/", f"{SECRET}"])
def test_an_address_that_is_none_is_refused_without_being_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "url"
    path.write_text(text)
    with pytest.raises(AddressError) as refused:
        Address(path)
    assert str(refused.value) == f"{path}: must hold an address that begins with http:// or https://"


def test_a_running_collector_signals_and_falls_silent_when_its_judge_cannot_write(
    configured: Start, outside: Outside, url_file: Path, until_true: Until
) -> None:
    collector = configured(dead_man={"url_file": str(url_file), "every_seconds": 1})
    until_true(lambda: len(outside.heard) >= 2, what="two signals")
    collector.kill()
    time.sleep(0.5)  # whatever was under way has arrived
    count = len(outside.heard)
    time.sleep(2)  # what must not happen has no event to wait for
    assert len(outside.heard) == count
    collector.start()
    until_true(lambda: len(outside.heard) > count, what="the signal after the start")
    viewer = collector.token("--role", "viewer")
    assert b"nhip_dead_man_age_seconds" in collector.ask("GET", "/metrics", token=viewer).body
    outside.status = 503
    until_true(lambda: collector.ask("GET", "/health").json.get("dead_man") == "was not taken: HTTP 503")
    collector.stop()
    kept = b"".join(path.read_bytes() for path in collector.folder.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept


def test_a_drill_over_http_rings_is_heard_withholds_the_signal_and_passes(
    configured: Start, outside: Outside, url_file: Path, until_true: Until
) -> None:
    collector = configured(dead_man={"url_file": str(url_file), "every_seconds": 1})
    operator, viewer = collector.token("--role", "operator"), collector.token("--role", "viewer")
    until_true(lambda: outside.heard, what="the signal")
    heard = {"heard": "alarm", "by": "officer"}
    assert post(collector, "/api/v1/drills/heard", heard, operator).status == 409
    assert post(collector, "/api/v1/drills", {}, viewer).status == 403
    started = post(collector, "/api/v1/drills", {"announce_minutes": 0}, operator)
    assert (started.status, started.json["signal_withheld"]) == (201, True)
    assert post(collector, "/api/v1/drills", {}, operator).status == 409
    until_true(lambda: "DRILL: TEST ALARM" in collector.log(), what="the alarm")
    until_true(lambda: collector.ask("GET", "/health").json.get("dead_man") == "a drill is on")
    count = len(outside.heard)
    time.sleep(2.5)  # what must not happen has no event to wait for
    assert len(outside.heard) <= count + 1
    assert post(collector, "/api/v1/drills/heard", heard, operator).status == 200
    post(collector, "/api/v1/drills/heard", {"heard": "silence", "by": "outside"}, operator)
    until_true(lambda: "DRILL PASSED" in collector.log(), what="the end")
    count = len(outside.heard)
    until_true(lambda: len(outside.heard) > count, what="the signal again")
    (drill,) = collector.get("/api/v1/drills", viewer)["drills"]
    assert (drill["state"], drill["passed"], drill["alarm_heard_by"], drill["silence_heard_by"]) == (
        "over", True, "officer", "outside",
    )  # fmt: skip


class Clock:
    def __init__(self, text: str) -> None:
        self.now = int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()) * NS

    def __call__(self) -> int:
        return self.now


def test_a_monthly_drill_is_announced_rings_and_fails_where_nobody_hears_it(tmp_path: Path) -> None:
    clock = Clock("2026-11-24 10:00")
    settings = Config(drill=DrillSettings(monthly="first tue 09:30", announce_minutes=10, withhold_minutes=15))
    database = open_database(tmp_path / "collector.db")
    office = DrillOffice(database, settings, Book(settings), clock)
    due = office.turn(clock.now)
    assert due == Clock("2026-12-01 09:20").now
    with pytest.raises(DrillError, match="no drill has rung"):
        office.heard("alarm", "x")
    for minute, state in ((20, (False, None)), (29, (False, None)), (30, (True, None)), (44, (True, None))):
        clock.now = Clock(f"2026-12-01 09:{minute}").now
        office = DrillOffice(database, settings, Book(settings), clock)  # as after a restart
        office.turn(clock.now)
        (drill,) = office.all()
        assert (drill.rung, drill.ended_at) == state
    with pytest.raises(DrillError, match="no dead_man"):
        office.heard("silence", "x")
    clock.now = Clock("2026-12-01 09:45").now
    office.turn(clock.now)
    (drill,) = office.all()
    assert (drill.ended_at, drill.done) == (clock.now, False)
    words = "the drill of 01/12/2026 09:30:00 failed: Nobody says that they got the alarm."
    assert office.problem() == words
    assert office.turn(clock.now) == Clock("2027-01-05 09:20").now
    database.dispose()


def test_a_drill_that_stays_away_is_said(tmp_path: Path) -> None:
    clock = Clock("2026-12-01 09:30")
    settings = Config(drill=DrillSettings(monthly="last fri 14:00", announce_minutes=0))
    database = open_database(tmp_path / "collector.db")
    office = DrillOffice(database, settings, Book(settings), clock)
    office.start("operator")
    office.turn(clock.now)
    office.heard("alarm", "officer")
    office.turn(clock.now)
    assert (office.problem(), office.all()[0].done) == (None, True)
    later = clock.now + 41 * 86_400 * NS
    assert lacking(office.all(), settings.drill, later) == "the last drill was on 01/12/2026 09:30:00"
    database.dispose()


@pytest.mark.parametrize(
    ("on", "now", "then"),
    [
        ("first tue 09:30", "2026-11-24 10:00", "2026-12-01 09:30"),
        ("first tue 09:30", "2026-12-01 09:29", "2026-12-01 09:30"),
        ("first tue 09:30", "2026-12-01 09:30", "2027-01-05 09:30"),
        ("last fri 14:00", "2026-11-24 10:00", "2026-11-27 14:00"),
        ("last thu 14:00", "2026-12-31 14:00", "2027-01-28 14:00"),
        ("third sun 00:00", "2026-12-01 00:00", "2026-12-20 00:00"),
        ("last wed 8:00", "2028-02-01 00:00", "2028-02-23 08:00"),
        ("last mon 8:00", "2026-08-01 00:00", "2026-08-31 08:00"),
    ],
)  # fmt: skip
def test_the_day_of_the_month_is_found(on: str, now: str, then: str) -> None:
    assert next_alarm(DrillSettings(monthly=on), ZONE, Clock(now).now) == Clock(then).now

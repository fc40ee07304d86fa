"""The agent as a process: started, killed, stopped, told to read its file again; its results arrive all the same."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from checks.line_protocol import Point, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.agents.conftest import FakeCollector

TINY = Path(__file__).parent / "tiny_checks.py"


class Agent:
    """`nhip agent` with the tiny checks, as a process of its own."""

    def __init__(self, folder: Path, token_file: Path, url: str) -> None:
        self.config = folder / "agent.yml"
        self.folder = folder
        self.errors = folder / "stderr.txt"
        self.settings: dict[str, Any] = {
            "site": "31120",
            "node": "gateway",
            "data": str(folder / "data"),
            "collector": {"url": url, "token_file": str(token_file), "flush_seconds": 0.1, "timeout_seconds": 2},
            "heartbeat_seconds": 1,
            "checks": [{"check": "count", "target": "a", "interval_seconds": 1}],
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.write()

    def write(self, **changes: object) -> None:
        self.settings |= changes
        self.config.write_text(json.dumps(self.settings))  # JSON is YAML

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        with self.errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(TINY), "run", "--config", str(self.config)],
                stderr=errors,
                env={**os.environ, **environment},
            )
        return self.process

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def said(self) -> str:
        return self.errors.read_text()

    def status(self) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(TINY), "status", "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def agent(tmp_path: Path, token_file: Path, collector: FakeCollector) -> Iterator[Agent]:
    started = Agent(tmp_path, token_file, collector.url)
    yield started
    if started.process is not None and started.process.poll() is None:
        started.process.kill()
        started.process.wait()


def points(collector: FakeCollector, measurement: str = "count") -> list[Point]:
    found = [point for line in collector.lines for point in decode(line.encode())]
    return [point for point in found if isinstance(point, Point) and point.measurement == measurement]


def counts(collector: FakeCollector, target: str = "a") -> list[float]:
    return [float(point.fields["n"]) for point in points(collector) if point.tags["target"] == target]


def test_results_and_heartbeats_arrive_on_their_grid(
    agent: Agent, collector: FakeCollector, until: Callable[..., None]
) -> None:
    agent.start()
    until(lambda: len(points(collector)) >= 3 and len(points(collector, "agent")) >= 3)
    assert agent.end() == 0
    result = points(collector)[0]
    assert result.tags == {"site": "31120", "node": "gateway", "target": "a"}
    assert collector.uploads[0].token == "Token s3cret-of-31120"
    beat = points(collector, "agent")[1]
    assert beat.tags == {"site": "31120", "node": "gateway"}
    assert set(beat.fields) - {"duration_seconds"} == {
        "uptime_seconds", "checks", "checks_in_error", "checks_overrun_total", "spool_bytes", "spool_batches",
        "dropped_batches_total", "dropped_bytes_total", "resident_bytes", "cpu_seconds_total", "heartbeat_seconds",
        "checks_without_lease_total",
    }  # fmt: skip
    assert all(isinstance(value, float) for value in beat.fields.values())
    assert (beat.fields["checks"], beat.fields["heartbeat_seconds"]) == (1.0, 1.0)
    assert "s3cret" not in agent.said()


def test_a_kill_loses_nothing_that_was_spooled_and_uses_no_number_twice(
    agent: Agent, collector: FakeCollector, start_collector: Callable[..., FakeCollector], until: Callable[..., None]
) -> None:
    collector.stop()
    agent.write(checks=[{"check": "count", "target": str(n), "interval_seconds": 1} for n in range(10)])
    spooled: list[str] = []
    for _ in range(3):
        agent.start()
        before = len(spooled)
        until(lambda: len(spool_lines(agent)) >= before + 15)  # noqa: B023  (it is called before the next round)
        assert agent.end(signal.SIGKILL) == -signal.SIGKILL
        spooled = spool_lines(agent)
    assert agent.status()[0] == 2
    again = start_collector(collector.port)
    agent.write(checks=[])
    agent.start()
    until(lambda: len(again.lines) >= len(spooled))
    assert agent.end() == 0
    assert again.lines[: len(spooled)] == spooled
    sequences = [upload.sequence for upload in again.uploads]
    assert sequences == list(range(1, len(sequences) + 1))
    assert len({upload.agent for upload in again.uploads}) == 1


def spool_lines(agent: Agent) -> list[str]:
    """Look into the spool from outside, in the order of sending."""
    path = Path(agent.settings["data"]) / "spool.sqlite"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            rows = db.execute("select body from part order by sequence, part").fetchall()
        except sqlite3.OperationalError:  # not made yet
            return []
    return [line for row in rows for line in row[0].decode().split("\n")[:-1]]


def test_a_kill_while_the_line_works_loses_no_count(
    agent: Agent, collector: FakeCollector, until: Callable[..., None]
) -> None:
    for _ in range(3):
        arrived = len(collector.uploads)
        agent.start()
        until(lambda: len(collector.uploads) >= arrived + 3)  # noqa: B023  (it is called before the next round)
        agent.end(signal.SIGKILL)
    agent.start()
    last = len(collector.uploads)
    until(lambda: len(collector.uploads) > last)
    agent.end()
    by_sequence: dict[int, list[str]] = {}
    for upload in collector.uploads:
        assert by_sequence.setdefault(upload.sequence, upload.lines) == upload.lines
    assert sorted(by_sequence) == list(range(1, len(by_sequence) + 1))


def test_a_stop_sends_what_is_there(agent: Agent, collector: FakeCollector, until: Callable[..., None]) -> None:
    agent.settings["collector"]["flush_seconds"] = 300
    agent.write(checks=[{"check": "count", "target": "a", "interval_seconds": 1, "with": {"takes_seconds": 0.2}}])
    agent.start()
    until(lambda: agent.status()[0] == 0)
    assert collector.uploads == []
    time.sleep(1.5)  # not a wait for something to happen, but time for results to gather
    assert agent.end() == 0
    assert counts(collector)
    assert points(collector, "agent")
    assert agent.said().endswith("agent stopped; 0 batches wait in the spool\n")
    code, words = agent.status()
    assert (code, words) == (2, "CRITICAL: not running; 0 batches (0 bytes) wait in the spool, 0 dropped\n")


def test_a_stop_does_not_wait_for_a_collector_that_hangs(
    agent: Agent, collector: FakeCollector, until: Callable[..., None]
) -> None:
    collector.manner.hang_seconds = 120
    agent.settings["collector"]["timeout_seconds"] = 120
    agent.write()
    agent.start()
    until(lambda: collector.uploads)
    assert agent.end(signal.SIGINT) == 0
    assert spool_lines(agent)


def test_a_reload_adds_a_check_and_leaves_the_others_their_beat(
    agent: Agent, collector: FakeCollector, until: Callable[..., None]
) -> None:
    process = agent.start()
    until(lambda: len(counts(collector)) >= 2)
    old = agent.settings["checks"][0]
    agent.write(checks=[old, {"check": "count", "target": "b", "interval_seconds": 1}])
    process.send_signal(signal.SIGHUP)
    until(lambda: len(counts(collector, "b")) >= 3)
    assert agent.end() == 0
    found = counts(collector)
    assert found == [float(n) for n in range(1, len(found) + 1)]
    beats = [point.timestamp or 0 for point in points(collector) if point.tags["target"] == "a"]
    assert [round((after - before) / 1e9) for before, after in itertools.pairwise(beats)] == [1] * (len(beats) - 1)
    assert "configuration taken up: 2 checks" in agent.said()


def test_a_reload_of_a_bad_file_says_so_and_the_old_one_stays(
    agent: Agent, collector: FakeCollector, until: Callable[..., None]
) -> None:
    process = agent.start()
    until(lambda: counts(collector))
    agent.write(checks=[{"check": "cuont", "target": "b", "interval_seconds": 1}], heartbeat_seconds=-1)
    process.send_signal(signal.SIGHUP)
    until(lambda: "stays in force" in agent.said())
    assert "$.checks[0].check: no check is called 'cuont'; there are: count, fail" in agent.said()
    assert "$.heartbeat_seconds: expected `float` >= 1.0" in agent.said()
    seen = len(counts(collector))
    until(lambda: len(counts(collector)) > seen)
    agent.write(checks=[], heartbeat_seconds=1, data=str(agent.folder / "elsewhere"))
    process.send_signal(signal.SIGHUP)
    until(lambda: "while the agent runs: restart it" in agent.said())
    agent.write(data=str(agent.folder / "data"))
    assert agent.end() == 0


def test_a_reload_takes_up_another_collector_and_its_token(
    agent: Agent,
    collector: FakeCollector,
    token_file: Path,
    start_collector: Callable[..., FakeCollector],
    until: Callable[..., None],
) -> None:
    process = agent.start()
    until(lambda: counts(collector))
    other = start_collector()
    token_file.write_text("another-s3cret")
    agent.settings["collector"]["url"] = other.url
    agent.write()
    process.send_signal(signal.SIGHUP)
    until(lambda: counts(other))
    assert other.uploads[0].token == "Token another-s3cret"
    assert agent.end() == 0
    found = counts(collector) + counts(other)
    assert found == [float(n) for n in range(1, len(found) + 1)]


def test_what_cannot_be_measured_is_counted_and_harms_no_other(
    agent: Agent, collector: FakeCollector, until: Callable[..., None]
) -> None:
    kinds = ("error", "unreachable", "nan")
    failing = [{"check": "fail", "target": how, "interval_seconds": 1, "with": {"how": how}} for how in kinds]
    agent.write(checks=[*agent.settings["checks"], *failing])
    agent.start()
    until(lambda: any(point.fields["checks_in_error"] == 1 for point in points(collector, "agent")))
    until(lambda: {point.tags["target"] for point in points(collector, "fail")} == set(kinds))
    assert agent.end() == 0
    fields = {point.tags["target"]: point.fields for point in points(collector, "fail")}
    assert fields["error"]["error"] == "not allowed to ask error"
    assert {**fields["unreachable"], "duration_seconds": 0} == {
        "success": 0.0, "duration_seconds": 0, "reason": "two lines",
    }  # fmt: skip
    assert str(fields["nan"]["error"]).startswith("the result cannot be sent: field 'success' is nan")
    assert counts(collector)


def test_a_slow_check_never_meets_itself(agent: Agent, collector: FakeCollector, until: Callable[..., None]) -> None:
    slow = {"check": "count", "target": "slow", "interval_seconds": 1, "with": {"takes_seconds": 1.5}}
    agent.write(checks=[*agent.settings["checks"], slow])
    agent.start()
    until(lambda: len(counts(collector, "slow")) >= 3)
    until(lambda: float(points(collector, "agent")[-1].fields["checks_overrun_total"]) >= 2)
    assert agent.end() == 0
    beats = [point.timestamp or 0 for point in points(collector) if point.tags["target"] == "slow"]
    assert all(after - before > 1_500_000_000 for before, after in itertools.pairwise(beats))


def test_systemd_hears_of_every_change(agent: Agent, tmp_path: Path, until: Callable[..., None]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(0)
        heard: list[str] = []

        def hear(state: str) -> Callable[[], bool]:
            def listen() -> bool:
                try:
                    while True:
                        heard.extend(channel.recv(4096).decode().split("\n"))
                except BlockingIOError:
                    return any(re.fullmatch(state, text) for text in heard)

            return listen

        process = agent.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="300000")
        until(hear("READY=1"))
        until(hear("STATUS=1 checks, . batches wait"))
        heard.clear()
        until(hear("WATCHDOG=1"))
        heard.clear()
        process.send_signal(signal.SIGHUP)
        until(hear("READY=1"))
        reloading = heard.index("RELOADING=1")
        assert heard[reloading + 1].startswith("MONOTONIC_USEC=")
        assert reloading < heard.index("READY=1")
        assert agent.end() == 0
        until(hear("STOPPING=1"))


def test_status_says_how_it_does(agent: Agent, collector: FakeCollector, until: Callable[..., None]) -> None:
    code, words = agent.status()
    assert (code, words) == (3, f"UNKNOWN: no agent has ever run with {agent.settings['data']}\n")
    agent.start()
    until(lambda: "last upload" in agent.status()[1])
    code, words = agent.status()
    assert code == 0
    assert re.match(
        r"OK: process \d+, 1 checks \(0 cannot measure\), last upload \d+ s ago, \d batches \(\d+ bytes\) wait, "
        r"0 \(0 bytes\) dropped, 0 refused in part\n",
        words,
    )
    collector.manner.status = 503
    until(lambda: agent.status()[0] == 2)
    assert agent.status()[1].startswith("CRITICAL: not sending: the collector answers 503; process ")
    assert agent.process is not None
    agent.process.send_signal(signal.SIGSTOP)
    until(lambda: "its last sign of life was" in agent.status()[1])
    agent.process.send_signal(signal.SIGCONT)


def test_a_second_agent_on_the_same_folder_is_refused(
    agent: Agent, collector: FakeCollector, until: Callable[..., None]
) -> None:
    first = agent.start()
    until(lambda: collector.uploads)
    second = agent.start()
    assert second.wait(30) == 1
    assert f"another agent already works with {agent.settings['data']}\n" in agent.said()
    agent.process = first
    assert agent.end() == 0


def test_a_folder_that_cannot_be_made_is_one_line(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    agent.write(data=str(tmp_path / "file" / "data"))
    assert agent.start().wait(30) == 1
    assert agent.said().startswith(f"nhip agent: cannot work with {tmp_path}/file/data: ")
    assert agent.said().count("\n") == 1

"""An agent that asks before it loads its line: with a real collector, with one that refuses, with none at all."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from agents.command import main
from agents.config import Collector, Job
from agents.leased import Leased
from agents.leases import LeaseClient, Leave
from agents.schedule import SECOND, Schedule
from checks.secret import Secret
from tests.agents import tiny_checks
from tests.agents.tiny_checks import Count, Load
from tests.running import RunningCollector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from checks.result import Result

JOB = Job(Load(), "10.92.0.1", 3600.0)


def client_of(port: int, token: str = "s3cret") -> LeaseClient:  # noqa: S107  (a made-up secret)
    url = f"http://127.0.0.1:{port}"
    return LeaseClient(Collector(url=url, token_file="/unused", timeout_seconds=5), Secret(token))


@dataclass
class Refusing:
    """A collector that answers as it is told, one answer after the other, and notes what it was asked."""

    answers: list[tuple[int, dict[str, str], bytes]]
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    port: int = 0


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    story = Refusing([])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            story.asked.append((self.command, self.path, body))
            status, headers, text = story.answers.pop(0) if story.answers else (204, {}, b"")
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        do_DELETE = do_POST  # noqa: N815  (http.server's name)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    story.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield story
    server.shutdown()
    server.server_close()
    thread.join(10)


def refusal(words: str, retry: str = "1") -> tuple[int, dict[str, str], bytes]:
    return 409, {"Retry-After": retry}, json.dumps({"code": "conflict", "message": words}).encode()


GRANTED = (201, {}, b'{"id":"abc","expires_at":"2026-11-24T22:00:00Z"}')


async def leased(client: LeaseClient | None, job: Job = JOB) -> tuple[Leased, Result | None]:
    office = Leased(client)
    return office, await office.run(job, site="31120", node="gw", wanted=lambda: True)


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    running = RunningCollector(tmp_path, {"leases": {"hours": []}})
    running.start()
    yield running
    running.stop()


async def test_with_leave_it_measures_and_gives_the_lease_back(collector: RunningCollector) -> None:
    token = collector.token("--site", "31120")
    client = client_of(collector.port, token)
    office, result = await leased(client)
    assert result is not None
    assert result.metrics == {"bytes_sent": 300, "bytes_received": 40}
    assert office.without_lease == 0
    assert client.ask("10.92.0.1", 1000, 5.0).id is not None, "given back: the line is free at once"
    assert client.ask("10.92.0.1", 1000, 5.0).words.startswith("another test runs on this line or server")


async def test_a_refusal_is_heeded_and_asked_again_at_the_time_told(refusing: Refusing) -> None:
    refusing.answers = [refusal("another test runs"), refusal("another test runs"), GRANTED]
    _, result = await leased(client_of(refusing.port))
    assert result is not None
    asked = {"server": "10.92.0.1", "bytes": 1_000_000, "seconds": 6.0}
    assert refusing.asked == [
        *[("POST", "/api/v1/leases", asked)] * 3,
        ("DELETE", "/api/v1/leases/abc?bytes_used=340", None),
    ]


async def test_no_leave_within_the_interval_is_no_test(refusing: Refusing) -> None:
    refusing.answers = [refusal("tests run at 22:00-05:00 only", "7200")]
    office, result = await leased(client_of(refusing.port))
    assert result is None
    assert office.without_lease == 1
    assert len(refusing.asked) == 1


@pytest.mark.parametrize(
    "answer", [(500, {}, b"oops"), (201, {}, b"{}"), (201, {}, b"[" * 100_000), (404, {}, b'{"message":1}')]
)
async def test_an_answer_that_makes_no_sense_is_no_leave(
    refusing: Refusing, answer: tuple[int, dict[str, str], bytes]
) -> None:
    refusing.answers = [answer]
    leave = client_of(refusing.port).ask("s", 1, 1.0)
    assert leave.id is None
    assert leave.retry_seconds == 60


async def test_no_collector_is_no_leave(free_port: int) -> None:
    leave = client_of(free_port).ask("s", 1, 1.0)
    assert leave == Leave(None, 60.0, "the collector cannot be asked: [Errno 111] Connection refused")
    office, result = await leased(client_of(free_port), Job(Load(), "t", 30.0))
    assert (result, office.without_lease) == (None, 1)
    office, result = await leased(None)
    assert (result, office.without_lease) == (None, 1)


async def test_a_wait_ends_when_the_job_is_taken_away(
    refusing: Refusing, until_async: Callable[..., Awaitable[None]]
) -> None:
    refusing.answers = [refusal("another test runs", "1")] * 50
    wanted = [True]
    office = Leased(client_of(refusing.port))
    task = asyncio.create_task(office.run(JOB, site="s", node="n", wanted=lambda: wanted[0]))
    await until_async(lambda: refusing.asked)
    wanted[0] = False
    assert await task is None


async def test_a_test_that_is_broken_off_gives_its_lease_back(
    refusing: Refusing, until_async: Callable[..., Awaitable[None]]
) -> None:
    refusing.answers = [GRANTED]
    slow = Job(_Slow(), "t", 3600.0)
    task = asyncio.create_task(Leased(client_of(refusing.port)).run(slow, site="s", node="n", wanted=lambda: True))
    await until_async(lambda: _Slow.running)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert refusing.asked[-1] == ("DELETE", "/api/v1/leases/abc", None)


class _Slow(Load):
    running = False

    async def measure(self, target: str) -> dict[str, float]:  # noqa: ARG002  (a check's own signature)
        _Slow.running = True
        await asyncio.sleep(3600)
        return {}


def test_a_job_that_waits_for_a_lease_takes_nobodys_place() -> None:
    jobs = [JOB, Job(Count(), "a", 3600.0), Job(Count(), "b", 3600.0)]
    schedule = Schedule(jobs, site="s", node="n", concurrency=1, origin_ns=0, now=0)
    now = 3600 * SECOND
    (first,) = schedule.take(now)
    schedule.park(first)
    (second,) = schedule.take(now)
    assert schedule.take(now) == []
    schedule.done(second)
    (third,) = schedule.take(now)
    assert {first.key, second.key, third.key} == {job.key for job in jobs}
    schedule.done(third)
    assert schedule.take(now + 3600 * SECOND) != [first], "it is still busy"
    schedule.done(first)


@pytest.fixture
def free_port() -> int:
    from tests.running import free_port as free  # noqa: PLC0415  (a fixture of the same name)

    return free()


@pytest.fixture
def agent_file(tmp_path: Path, collector: RunningCollector) -> Path:
    token = tmp_path / "token"
    token.write_text(collector.token("--site", "31120"), encoding="ascii")
    token.chmod(0o600)
    to = f"{{url: 'http://127.0.0.1:{collector.port}', token_file: {token}}}"
    checks = "[{check: load, target: 10.92.0.1, interval_seconds: 86400}]"
    file = tmp_path / "agent.yml"
    file.write_text(f"site: '31120'\nnode: gw\ncollector: {to}\nchecks: {checks}\n", encoding="utf-8")
    return file


def test_a_person_measures_now_with_leave(
    agent_file: Path, collector: RunningCollector, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["measure", "load", "--config", str(agent_file), "--format", "json"]
    assert main(words, tiny_checks.make) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == {"bytes_sent": 300, "bytes_received": 40}
    token = agent_file.with_name("token").read_text(encoding="ascii").strip()
    assert client_of(collector.port, token).ask("10.92.0.1", 1000, 5.0).id is not None, "given back: the line is free"


def test_without_leave_nothing_is_measured_and_the_reason_is_said(
    agent_file: Path, collector: RunningCollector, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    taken = client_of(collector.port, collector.token("--site", "31135")).ask("10.92.0.1", 1000, 60.0)
    assert taken.id is not None
    assert main(["measure", "load", "--config", str(agent_file), "--wait", "0.5"], tiny_checks.make) == 3
    assert not capsys.readouterr().out
    assert "another test runs on this line or server (site 31135)" in caplog.text


def test_a_check_that_the_file_does_not_ask_for_is_named(agent_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "stamp", "--config", str(agent_file)], tiny_checks.make) == 1
    assert "$.checks: the file does not ask for it; there are: load of 10.92.0.1" in capsys.readouterr().err

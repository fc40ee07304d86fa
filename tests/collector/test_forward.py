"""Every point, on to a real VictoriaMetrics: nothing lost while it is away, and nothing waits for it."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.line_protocol import Point, decode
from collector.forward import Lines, _full
from collector.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.running import RunningCollector

Start = Callable[..., "RunningCollector"]
Until = Callable[..., Any]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Victoria:
    """A real VictoriaMetrics, to be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["victoria-metrics", f"-storageDataPath={self._folder}", f"-httpListenAddr=127.0.0.1:{self.port}",
             "-retentionPeriod=10y", "-loggerLevel=ERROR"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self.get("/health")
                return
            time.sleep(0.05)
        pytest.fail("VictoriaMetrics does not answer")

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def points(self, metric: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
        """Return milliseconds and values by (site, target)."""
        self.get("/internal/force_flush")
        found = {}
        for line in self.get("/api/v1/export?" + urlencode({"match[]": metric})).splitlines():
            series = json.loads(line)
            labels = series["metric"]
            rows = zip(series["timestamps"], series["values"], strict=True)
            found[labels.get("site", ""), labels.get("target", "")] = sorted(rows)
        return found


@pytest.fixture
def victoria(tmp_path: Path) -> Iterator[Victoria]:
    if shutil.which("victoria-metrics") is None:
        pytest.skip("VictoriaMetrics (Debian: victoria-metrics) is not installed")
    database = Victoria(tmp_path / "victoria")
    yield database
    database.end()


class Picky:
    """A database that refuses for good whatever holds a word, and keeps the rest."""

    def __init__(self, word: bytes, status: int) -> None:
        picky = self
        self.bodies: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                refused = word in body
                if not refused:
                    picky.bodies.append(body)
                self.send_response(status if refused else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def picky(request: pytest.FixtureRequest) -> Iterator[Picky]:
    server = Picky(b"poison", request.param)
    yield server
    server.stop()


def now() -> int:
    return time.time_ns() // 1_000_000 * 1_000_000


def rtt(target: str, at: int, value: float = 0.004) -> str:
    return f"icmp_echo,node=gw,site=31120,target={target} loss_ratio=0,rtt_median_seconds={value} {at}"


def test_every_point_arrives_with_its_site_and_the_time_it_was_measured(
    configured: Start, victoria: Victoria, until_true: Until
) -> None:
    victoria.start()
    collector = configured(forward={"url": victoria.url})
    bound, admin = collector.token("--site", "31120"), collector.token("--role", "admin")
    first = now() - 5_000_000_000
    times = [first + n * 10_000_000 for n in range(500)]
    assert collector.write("\n".join(rtt("a", at, n / 1e3) for n, at in enumerate(times)), bound).status == 204
    second = first // 1_000_000_000
    answer = collector.ask(
        "POST", "/api/v2/write?precision=s", f"icmp_echo,target=b rtt_median_seconds=7 {second}".encode(), token=bound
    )
    assert answer.status == 204
    assert collector.write("icmp_echo,target=c rtt_median_seconds=9", bound).status == 204
    assert collector.write(f"icmp_echo,site=99999,target=a rtt_median_seconds=5 {first}", admin).status == 204
    mixed = f"bad line\n{rtt('d', first)}"
    assert collector.write(mixed, bound).status == 400
    wanted = {("31120", "a"), ("31120", "b"), ("31120", "c"), ("31120", "d"), ("99999", "a")}
    found = until_true(lambda: (p := victoria.points("icmp_echo_rtt_median_seconds")).keys() == wanted and p)
    milliseconds = [at // 1_000_000 for at in times]
    assert found["31120", "a"] == [(at, n / 1e3) for n, at in enumerate(milliseconds)]
    assert found["31120", "b"] == [(second * 1000, 7)]
    assert found["99999", "a"] == [(milliseconds[0], 5)]
    ((arrived, value),) = found["31120", "c"]
    assert value == 9
    assert abs(arrived - time.time() * 1000) < 60_000


def test_while_the_database_is_away_points_wait_detection_goes_on_and_nothing_is_lost_over_a_restart(
    configured: Start, victoria: Victoria, until_true: Until
) -> None:
    collector = configured(forward={"url": victoria.url, "timeout_seconds": 2})  # it has not even been started
    site, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    first = now() - 1_000_000_000
    times = [first + n * 10_000_000 for n in range(40)]

    def write(some: list[int]) -> None:
        for at in some:
            assert collector.write(rtt("a", at, at % 1000), site).status == 204

    write(times[:10])
    until_true(lambda: collector.ask("GET", "/health").json["status"] == "warn")
    for at in times[:3]:
        assert collector.write(f"tcp_connect,node=gw,target=x:1 success=0 {at}", site).status == 204
    until_true(lambda: collector.get("/api/v1/incidents?state=open", viewer)["incidents"], 5, "the incident")
    collector.kill()
    collector.start()
    write(times[10:20])
    victoria.start()
    until_true(lambda: len(victoria.points("icmp_echo_loss_ratio").get(("31120", "a"), [])) == 20, 30, "catching up")
    until_true(lambda: collector.ask("GET", "/health").json["status"] == "pass")
    victoria.end()
    write(times[20:30])
    collector.stop()
    collector.start()
    victoria.start()
    write(times[30:])
    found = until_true(
        lambda: len(p := victoria.points("icmp_echo_loss_ratio").get(("31120", "a"), [])) == 40 and p, 30, "the rest"
    )
    assert [at for at, _ in found] == [at // 1_000_000 for at in times]


def figure(collector: RunningCollector, name: str, viewer: str) -> float:
    text = collector.ask("GET", "/metrics", token=viewer).body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


@pytest.mark.parametrize("picky", [400, 413, 422], indirect=True)
def test_a_body_that_is_refused_for_good_blocks_nothing_and_costs_its_neighbours_nothing(
    configured: Start, picky: Picky, until_true: Until
) -> None:
    collector = configured(forward={"url": picky.url})
    site, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    targets = ["a", "b", "poison", "c", "d"]
    for target in targets:
        assert collector.write(rtt(target, now()), site).status == 204
    until_true(lambda: figure(collector, "nhip_forward_lag_entries", viewer) == 0, what="forwarding")
    assert collector.write(rtt("e", now()), site).status == 204
    until_true(lambda: b"target=e" in b"".join(picky.bodies), what="going on")
    arrived = [p.tags["target"] for p in decode(b"\n".join(picky.bodies)) if isinstance(p, Point)]
    assert sorted(arrived) == ["a", "b", "c", "d", "e"]
    assert figure(collector, "nhip_forward_refused_entries", viewer) == 1
    assert collector.ask("GET", "/health").json["status"] == "pass"


@pytest.mark.parametrize("picky", [401, 503], indirect=True)
def test_a_token_that_is_wrong_and_a_database_in_trouble_are_waited_for(
    configured: Start, picky: Picky, until_true: Until
) -> None:
    collector = configured(forward={"url": picky.url})
    site, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
    assert collector.write(rtt("poison", now()), site).status == 204
    until_true(lambda: "forwarding" in collector.ask("GET", "/health").json)
    assert figure(collector, "nhip_forward_refused_entries", viewer) == 0
    assert figure(collector, "nhip_forward_lag_entries", viewer) >= 1


def test_the_token_of_the_database_stands_in_no_log(configured: Start, tmp_path: Path, until_true: Until) -> None:
    (tmp_path / "token").write_text("very-secret-token\n", encoding="utf-8")
    collector = configured(forward={"url": f"http://127.0.0.1:{free_port()}", "token_file": str(tmp_path / "token")})
    assert collector.write(rtt("a", now()), collector.token("--site", "31120")).status == 204
    until_true(lambda: collector.ask("GET", "/health").json.get("forwarding"))
    assert "points wait for" in collector.log()
    assert "very-secret-token" not in collector.log() + collector.ask("GET", "/health").body.decode()


def test_a_database_that_hangs_delays_no_stop_for_long(configured: Start, until_true: Until) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts; nobody ever answers
        collector = configured(forward={"url": f"http://127.0.0.1:{silent.getsockname()[1]}", "timeout_seconds": 1})
        site, viewer = collector.token("--site", "31120"), collector.token("--role", "viewer")
        assert collector.write(rtt("a", now()), site).status == 204
        until_true(lambda: collector.ask("GET", "/health").json.get("forwarding"), what="the time-out")
        assert figure(collector, "nhip_forward_lag_entries", viewer) >= 1
        assert collector.stop() == 0


def test_what_cannot_be_written_again_is_left_out_and_ends_nothing() -> None:
    body = b'm f=1 5\nm,a=b f\\\r="x" 6\n#m f=2 7\n #n f=1 8\nm f=3'
    lines = Lines().of([Entry(arrived_at=9, body=body, site="1")])
    assert lines[0] == b"m,site=1 f=1.0 5"
    assert lines[-1] == b"m,site=1 f=3.0 9"


fields = st.sampled_from(
    [
        "f=1",
        "f=1.5,g=-2e3",
        "f=1i",
        "f=7u",
        "f=t",
        'f="a b,c=d"',
        'f="two\nlines"',
        "f=",
        "=1",
        "f=1e999",
        "f=1.2.3",
        "f g=1",
    ]
)
stamps = st.sampled_from(
    ["", " 5", " -7", " 1790000000000000000", " 9999999999999999999", " soon", " 5 ", "\r", " 5\r"]
)
keys = st.sampled_from(
    ["m", "m,site=1", "m,site=2", "m,b=2,a=1", "m\\ x,t=a\\ b", "m,t=", ",", "#m", "", "m,site=1,site=1"]
)
bodies = st.lists(st.tuples(keys, fields, stamps), max_size=12).map(
    lambda rows: "\n".join(f"{key} {some}{stamp}" for key, some, stamp in rows).encode()
)


@given(st.lists(st.tuples(bodies, st.sampled_from([None, "1", "2"]), st.sampled_from(["ns", "s"])), max_size=4))
def test_the_quick_way_and_the_careful_way_send_the_same_points(some: list[tuple[bytes, str | None, str]]) -> None:
    lines = Lines()
    for body, site, precision in some:
        entry = Entry(arrived_at=11, body=body, site=site, precision=precision)
        careful = [line for item in decode(body, precision) if isinstance(item, Point) and (line := _full(item, entry))]
        assert list(decode(b"\n".join(lines.of([entry])))) == list(decode(b"\n".join(careful)))

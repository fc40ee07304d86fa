"""The reflector as a process: what it tells the collector, and how it starts, reloads, refuses and stops."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from agents.reflector.report import METRICS
from checks import stamp_wire as wire
from checks.line_protocol import Point, decode
from tests.running import ROOT, RunningReflector, free_port, free_udp_port, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.agents.conftest import FakeCollector

KEY = "5e" * 32
ESTIMATE = wire.error_estimate(0.001, synchronised=True)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "31120.key"
    path.write_text(KEY)
    path.chmod(0o600)
    return path


@pytest.fixture
def reflector(tmp_path: Path, token_file: Path, collector: FakeCollector) -> Iterator[RunningReflector]:
    running = RunningReflector(
        tmp_path,
        collector={"url": collector.url, "token_file": str(token_file), "flush_seconds": 0.1, "timeout_seconds": 2},
        publish_seconds=1,
        heartbeat_seconds=1,
        senders=[{"site": "31120", "ssid": 31120}, {"site": "31117", "ssid": 31117}],
    )
    yield running
    running.stop(signal.SIGKILL)


class Sender:
    """Sends packets as a site would, twice a second or as told, and hears what comes back."""

    def __init__(self, port: int, ssid: int = 31120, key: bytes | None = None) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.settimeout(0.5)
        self.sock.connect(("127.0.0.1", port))
        self.ssid, self.key, self.sequence, self.stop = ssid, key, 0, threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        if self._thread is not None:
            self._thread.join(10)
        self.sock.close()

    def send(self) -> bool:
        """Send one packet; tell whether it was answered."""
        request = wire.Request(self.sequence, wire.ntp_stamp(time.time_ns()), ESTIMATE, self.ssid)
        self.sequence += 1
        try:
            self.sock.send(wire.encode_request(request, self.key))
            return bool(self.sock.recv(2048))
        except OSError:
            return False

    def go_on(self, *, leaving_out: int = 0) -> None:
        """Send every 20 ms from a thread; `leaving_out` makes every so-many-th number one that never arrives."""

        def loop() -> None:
            while not self.stop.wait(0.02):
                if leaving_out and self.sequence % leaving_out == 0:
                    self.sequence += 1
                self.send()

        self._thread = threading.Thread(target=loop, daemon=True)
        self._thread.start()


def points(collector: FakeCollector, measurement: str, target: str | None = None) -> list[Point]:
    found = [point for line in collector.lines for point in decode(line.encode())]
    return [
        point
        for point in found
        if isinstance(point, Point)
        and point.measurement == measurement
        and (target is None or point.tags.get("target") == target)
    ]


def latest(collector: FakeCollector, target: str) -> dict[str, Any]:
    found = points(collector, "stamp_sender", target)
    return dict(found[-1].fields) if found else {}


def test_it_tells_the_collector_of_every_sender_and_above_all_of_the_silent(
    reflector: RunningReflector, collector: FakeCollector, until: Callable[..., None]
) -> None:
    reflector.start()
    with Sender(reflector.port) as site, Sender(reflector.port, ssid=7) as stranger:
        site.go_on(leaving_out=4)
        stranger.go_on()
        until(lambda: latest(collector, "31120").get("packets_missing", 0) > 0)
        until(lambda: latest(collector, "127.0.0.1").get("packets_received", 0) > 0)
    told = latest(collector, "31120")
    assert METRICS.keys() <= told.keys()
    assert told["packets_received"] >= 1
    until(lambda: latest(collector, "31120")["silent_seconds"] > 2)
    until(lambda: latest(collector, "31117").get("silent_seconds", 0) > 2)
    assert "loss_forward_ratio" not in latest(collector, "31117"), "never heard: nothing is known to have been sent"
    silences = [float(point.fields["silent_seconds"]) for point in points(collector, "stamp_sender", "31117")]
    assert silences == sorted(silences)
    point = points(collector, "stamp_sender", "31120")[0]
    assert point.tags == {"site": "data-centre", "node": "reflector", "target": "31120"}
    ratios = [float(p.fields.get("loss_forward_ratio", 0)) for p in points(collector, "stamp_sender", "31120")]
    assert max(ratios) == pytest.approx(0.25, abs=0.15), "every fourth number never came"


def test_it_says_how_it_is_itself(
    reflector: RunningReflector, collector: FakeCollector, until: Callable[..., None]
) -> None:
    reflector.start()
    with Sender(reflector.port) as site:
        assert site.send()
        site.sock.send(b"noise")
        until(lambda: points(collector, "reflector") and points(collector, "agent"))
        until(lambda: points(collector, "reflector")[-1].fields.get("refused_short_total", 0) == 1)
    fields = points(collector, "reflector")[-1].fields
    assert (fields["received_total"], fields["reflected_total"]) == (2, 1)
    assert points(collector, "agent")[0].fields["heartbeat_seconds"] == 1


def test_sigterm_ends_it_well_with_a_summary(reflector: RunningReflector) -> None:
    reflector.start()
    with Sender(reflector.port) as site:
        assert site.send()
        site.sock.send(b"noise")
        assert site.send()
    assert reflector.stop() == 0
    assert reflector.said().endswith("nhip reflector: stopped; 2 packets reflected, 1 refused\n")
    with Sender(reflector.port) as site:
        assert not site.send()


def test_sighup_takes_up_new_senders_and_keys_without_losing_a_packet(
    reflector: RunningReflector, key_file: Path, until: Callable[..., None]
) -> None:
    sender = {"site": "31120", "ssid": 31120, "key_file": str(key_file)}
    reflector.write(authenticated=True, senders=[sender])
    reflector.start()
    assert reflector.process is not None
    with Sender(reflector.port, key=bytes.fromhex(KEY)) as site, Sender(reflector.port, 9, bytes.fromhex(KEY)) as new:
        assert site.send()
        assert not new.send()
        reflector.write(senders=[sender, {"site": "31117", "ssid": 9, "key_file": str(key_file)}])
        reflector.process.send_signal(signal.SIGHUP)
        until(lambda: "configuration taken up: 2 senders" in reflector.said())
        assert new.send()
        assert site.send()
        reflector.write(senders=[{"site": "31117", "ssid": 9, "key_file": str(key_file)}])
        reflector.process.send_signal(signal.SIGHUP)
        until(lambda: "configuration taken up: 1 senders" in reflector.said())
        assert not site.send(), "no longer a sender"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"publish_seconds": 0}, "$.publish_seconds: expected `float` >= 1.0"),
        ({"node": "other"}, "$.node: cannot change while the reflector runs: restart it"),
        ({"limits": {"burst": 9}}, "$.limits: cannot change while the reflector runs: restart it"),
        ({"listen": ["127.0.0.1:1234"]}, "$.listen: cannot change while the reflector runs: restart it"),
    ],
)
def test_a_bad_file_leaves_the_one_before_in_force(
    reflector: RunningReflector, until: Callable[..., None], changes: dict[str, object], words: str
) -> None:
    reflector.start()
    assert reflector.process is not None
    reflector.write(**changes)
    reflector.process.send_signal(signal.SIGHUP)
    until(lambda: "the configuration before stays in force" in reflector.said())
    assert f"{reflector.config}: {words}" in reflector.said()
    with Sender(reflector.port) as site:
        assert site.send()


def test_a_collector_that_is_away_costs_no_point_and_no_packet(
    reflector: RunningReflector, collector: FakeCollector, start_collector: Callable[..., FakeCollector],
    until: Callable[..., None],
) -> None:  # fmt: skip
    port = collector.port
    collector.stop()
    reflector.start()
    with Sender(reflector.port) as site:
        assert site.send()
        time.sleep(2)
        back = start_collector(port)
        until(lambda: sum(float(p.fields["packets_received"]) for p in points(back, "stamp_sender", "31120")) >= 1)
        assert site.send()


def fails(*words: str) -> str:
    done = subprocess.run([*words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_port_that_is_taken_is_told_in_words() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        said = fails(sys.executable, "nhip.py", "reflector", "run", "--listen", f"127.0.0.1:{port}")
    assert said == f"nhip reflector: cannot listen: address already in use: 127.0.0.1:{port}\n"


def test_an_address_that_is_not_of_this_machine_is_told_in_words() -> None:
    said = fails(sys.executable, "nhip.py", "reflector", "run", "--listen", "192.0.2.1:8620")
    assert said == "nhip reflector: cannot listen: cannot assign requested address: 192.0.2.1:8620\n"


@pytest.mark.skipif(shutil.which("setpriv") is None or os.geteuid() != 0, reason="needs root and setpriv (util-linux)")
def test_a_low_port_without_the_right_to_it_is_told_in_words() -> None:
    drop = ("setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service")
    said = fails(*drop, sys.executable, "nhip.py", "reflector", "run", "--listen", "127.0.0.1:862")
    assert said == (
        "nhip reflector: cannot listen: permission denied: 127.0.0.1:862 (ports below 1024 need CAP_NET_BIND_SERVICE)\n"
    )


def test_two_reflectors_do_not_share_a_folder(reflector: RunningReflector) -> None:
    reflector.start()
    reflector.write(listen=[f"127.0.0.1:{free_udp_port()}"])
    said = fails(sys.executable, "nhip.py", "reflector", "run", "--config", str(reflector.config))
    assert said == f"nhip reflector: another reflector already works with {reflector.settings['data']}\n"


def test_what_is_refused_is_said_now_and_then_and_never_a_line_a_packet(reflector: RunningReflector) -> None:
    reflector.start()
    with Sender(reflector.port) as site:
        for _ in range(300):
            site.sock.send(os.urandom(40))
        assert site.send()
    assert reflector.stop() == 0
    assert len(reflector.said().splitlines()) < 5


def test_a_flood_of_noise_makes_it_no_larger(reflector: RunningReflector, until: Callable[..., None]) -> None:
    reflector.start()
    assert reflector.process is not None

    def resident() -> int:
        assert reflector.process is not None
        with open(f"/proc/{reflector.process.pid}/status", encoding="ascii") as file:  # noqa: PTH123  (one line)
            found = re.search(r"VmRSS:\s+(\d+)", file.read())
        assert found is not None
        return int(found[1])

    with Sender(reflector.port) as site:

        def noise(count: int) -> None:
            for at in range(count):
                site.sock.send(os.urandom(at % 200))
            until(site.send)

        noise(2000)
        before = resident()
        for _ in range(5):
            noise(2000)
        assert resident() - before < 4096, "kB"


def test_capacity_tests_are_answered_beside_the_test_packets_and_told_of(
    reflector: RunningReflector, collector: FakeCollector
) -> None:
    port = free_port()
    reflector.write(capacity={"listen": [f"127.0.0.1:{port}"]})
    reflector.start()
    asked = (
        "--target",
        f"127.0.0.1:{port}",
        "--set",
        "max_bytes=100000",
        "--set",
        "skip_above_ratio=1",
        "--format",
        "line",
    )
    done = subprocess.run(
        [sys.executable, "nhip.py", "check", "run", "capacity", *asked],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "capacity_up_bits_per_second=" in done.stdout, done.stdout + done.stderr
    until(
        lambda: any(
            float(value) >= 1
            for point in points(collector, "reflector")
            for name, value in point.fields.items()
            if name.startswith("capacity_")
        ),
        20,
        "a count of tests",
    )


def test_a_port_for_capacity_tests_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = tmp_path / "reflector.yml"
        config.write_text(f"listen: ['127.0.0.1:{free_udp_port()}']\ncapacity: {{listen: ['127.0.0.1:{port}']}}\n")
        command = [sys.executable, "nhip.py", "reflector", "run", "--config", str(config)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    words = f"address already in use: 127.0.0.1:{port}, for capacity tests"
    assert (done.returncode, done.stderr) == (1, f"nhip reflector: cannot listen: {words}\n")

"""`nhip up` ended by Ctrl-C and started again on the same data: on from where it stopped, and one at a time."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
Until = Callable[..., Any]


class Up:
    """One `nhip up` on a folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """Start it; return what it said until it was ready."""
        with (self.data.parent / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nhip", "up", "--listen", f"127.0.0.1:{self.port}", "--data", str(self.data)],
                cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = self.process.stdout.readline()
            assert line, (self.data.parent / "log").read_text(encoding="utf-8")
            said += line
        self.port = int(said.split("http://127.0.0.1:")[1].split("/")[0])
        return said

    def children(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> int:
        """Type Ctrl-C; return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(40)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def incidents(self, place: str) -> list[dict[str, Any]]:
        found = self.get("/api/v1/incidents")["incidents"]
        return [incident for incident in found if incident["cause"]["place"].endswith(place)]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path / "data")
    yield running
    if running.process is not None and running.process.poll() is None:
        left = running.children()
        running.process.kill()
        running.process.wait()
        assert running.process.stdout is not None
        running.process.stdout.close()
        for child in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


class Shop:
    """A service that listens below the ephemeral ports, as services do."""

    def __init__(self) -> None:
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        for port in [self.port] if self.port else range(20_100 + os.getpid() % 5_000, 32_000):
            with contextlib.suppress(OSError):
                self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
                self.port = port
                break
        assert self._server is not None
        threading.Thread(target=self._server.serve_forever).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def shop() -> Iterator[Shop]:
    one = Shop()
    yield one
    one.close()


def test_ctrl_c_ends_collector_agent_and_reflector_and_a_second_start_goes_on(
    up: Up, shop: Shop, until_true: Until
) -> None:
    shop.open()
    said = up.start()
    assert f"board     http://127.0.0.1:{up.port}/" in said
    assert f"data      {up.data}" in said
    assert f":{shop.port}" in said
    children = up.children()
    assert {child.cmdline()[3] for child in children} == {"agent", "reflector"}
    watched = f":{shop.port}"
    until_true(
        lambda: any(s["target"].endswith(watched) for s in up.get("/api/v1/sites/here")["signals"]), 30, "measuring"
    )
    shop.close()
    opened = until_true(lambda: up.incidents(watched), 30, "the incident")
    assert [incident["state"] for incident in opened] == ["open"]
    assert up.interrupt() == 0
    assert not any(child.is_running() for child in children)
    up.start()
    assert [i["id"] for i in up.incidents(watched)] == [opened[0]["id"]]
    shop.open()
    until_true(lambda: up.incidents(watched)[0]["state"] == "resolved", 40, "its end")
    shop.close()
    again = until_true(lambda: (i := up.incidents(watched))[0]["state"] == "open" and i, 30, "its return")
    assert [incident["id"] for incident in again] == [opened[0]["id"]]
    assert "reopened" in [line["kind"] for line in up.get(f"/api/v1/incidents/{opened[0]['id']}")["timeline"]]
    assert up.interrupt() == 0


def test_killed_it_leaves_nobody_behind(up: Up) -> None:
    up.start()
    assert up.process is not None
    children = up.children()
    up.process.kill()
    up.process.wait()
    assert up.process.stdout is not None
    up.process.stdout.close()
    assert len(children) == 2
    assert psutil.wait_procs(children, 30)[1] == []


def test_a_second_one_on_the_same_data_is_told_who_has_it(up: Up) -> None:
    up.start()
    assert up.process is not None
    second = [sys.executable, "-m", "nhip", "up", "--listen", "127.0.0.1:0", "--data", str(up.data)]
    found = subprocess.run(second, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr == (
        f"nhip up: {up.data / 'collector'} is in use by another collector (process {up.process.pid}):"
        " stop that, or choose another folder\n"
    )
    assert up.get("/health")["status"] == "pass"
    assert up.interrupt() == 0


def test_test_packets_come_back_and_the_reflector_tells_of_them_too(up: Up, until_true: Until) -> None:
    up.start()
    address = f"127.0.0.1:{up.port}"

    def both() -> bool:
        series = {(s["check"], s["target"]) for s in up.get("/api/v1/sites/here")["series"]}
        return {("stamp", address), ("stamp_sender", "127.0.0.1"), ("reflector", "")} <= series

    until_true(both, 30, "both ends' figures")
    rows = "/api/v1/series?site=here&check=stamp_sender&target=127.0.0.1&metric=packets_received&from=-1m"
    until_true(lambda: any(row[5] > 0 for row in up.get(rows)["series"][0]["rows"]), 30, "packets that were heard")
    assert up.interrupt() == 0
